"""The schema of a recipe: name, type, range, group and help of every parameter, once."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fieldmark.recipe.recipe_file import MANY, STRICT, RecipeFile, parameter


class Parameters(RecipeFile):
    """The parameters cell of train.ipynb, in its order."""

    photos: str = parameter(
        "Photos", "drawn", "folder of photos, `drawn` (six invented species) or `cub-200-2011`"
    )
    test_name: str = parameter("Photos", "test", "name of the split in a folder `test`")
    crop: Literal["none", "boxes", "auto"] = parameter(
        "Photos",
        "none",
        "crop whole photos: to the data set's bounding boxes, or `auto` to what the finder finds",
    )
    allow_duplicates: bool = parameter(
        "Photos", False, "accept the same photo in several official splits"
    )
    label_decisions: str = parameter(
        "Photos", "", "CSV of decisions about doubtful labels: `path`, `decision`, `label`"
    )
    min_photos: int = parameter("Photos", 5, "minimum number of photos per species", 1, MANY)

    seed: int = parameter("Splits", 0, "seed of splits, initial weights and augmentation", 0, MANY)
    unseen_share: float = parameter(
        "Splits", 0.0, "share of the species to leave out, to evaluate unknown birds", 0, 0.9
    )
    valid_share: float = parameter(
        "Splits", 0.1, "share of the photos for choosing the epoch and settings", 0, 0.9
    )
    calibration_share: float = parameter(
        "Splits", 0.15, "share of the photos for thresholds and reported metrics", 0, 0.9
    )

    arch: str = parameter("Network", "test_efficientnet", "architecture, by timm's name")
    weights: str = parameter(
        "Network", "random", "`pretrained`, `random`, a safetensors file or a run's weights"
    )
    arch_options: dict = parameter(
        "Network", {}, "further arguments for timm; `mean` and `std` if they differ from timm's"
    )
    size: int = parameter("Network", 96, "pixels per side; 0: the architecture's default", 0, 4096)
    dropout: float = parameter("Network", 0.2, "dropout before the last layer", 0, 1)

    name: str = parameter("Model card", "", "the model's name; default: the run's", retrain=False)
    trained_on: str = parameter("Model card", "", "short description of the photos", retrain=False)
    licence: str = parameter("Model card", "", "licence of the model", retrain=False)

    batch_size: int = parameter("Loading", 32, "photos per batch", 1, MANY)
    accumulation_steps: int = parameter("Loading", 1, "batches per optimizer step", 1, MANY)
    num_workers: int = parameter(
        "Loading", -1, "processes that load photos; -1: automatic", -1, 1024, retrain=False
    )
    cache: bool = parameter("Loading", True, "decode photos once, into `runs/cache`")
    train_size: int = parameter("Loading", 0, "pixels per side in training; 0: `size`", 0, 4096)

    min_crop_area: float = parameter(
        "Augmentation", 0.5, "smallest share of the area that a random crop keeps", 0.05, 1
    )
    min_scale: float = parameter(
        "Augmentation", 0.6, "smallest scale of shrunk photos, as of a bird farther away", 0.05, 1
    )
    shrink_share: float = parameter("Augmentation", 0.25, "share of the photos to shrink", 0, 1)
    max_shift: float = parameter(
        "Augmentation", 0.1, "largest share of the side by which shrunk photos are cut off", 0, 0.5
    )
    min_aspect: float = parameter(
        "Augmentation", 0.75, "smallest ratio of the sides of shrunk photos", 0.2, 1
    )
    grounds: str = parameter(
        "Augmentation",
        "",
        "folder of photos without birds around shrunk photos, or `reflection`; "
        "default: half of `not_birds`",
    )
    min_resolution: float = parameter(
        "Augmentation", 0.5, "smallest resolution, as of a bird of few pixels; 1: off", 0.05, 1
    )
    flip: bool = parameter("Augmentation", True, "mirror half of the photos")
    max_rotate: float = parameter("Augmentation", 10.0, "largest rotation in degrees", 0, 180)
    max_warp: float = parameter("Augmentation", 0.1, "largest perspective warp", 0, 1)
    max_lighting: float = parameter(
        "Augmentation", 0.2, "largest change of brightness and contrast", 0, 1
    )
    colour_jitter: float = parameter(
        "Augmentation", 0.0, "largest change of hue and saturation", 0, 1
    )
    random_erasing: float = parameter(
        "Augmentation", 0.0, "share of the photos in which a rectangle is erased", 0, 1
    )

    mixup: float = parameter("Mixing", 0.0, "alpha of mixup; 0: off", 0, 100)
    cutmix: float = parameter("Mixing", 0.0, "alpha of CutMix; 0: off", 0, 100)

    teacher: dict = parameter("Distillation", {}, "network to distil; see Distillation below")
    distillation_weight: float = parameter(
        "Distillation", 0.7, "weight of the teacher in the loss; the labels have the rest", 0, 1
    )
    auxiliary_weight: float = parameter(
        "Distillation", 0.5, "weight of the loss on the teacher's own classes", 0, 100
    )

    optimizer: Literal["adamw", "sgd"] = parameter(
        "Optimisation", "adamw", "optimizer; `sgd` has a momentum of 0.9"
    )
    weight_decay: float = parameter("Optimisation", 0.01, "weight decay", 0, 1)
    label_smoothing: float = parameter("Optimisation", 0.1, "label smoothing", 0, 1)
    precision: Literal["auto", "float32", "float16", "bfloat16"] = parameter(
        "Optimisation", "auto", "mixed precision; `auto`: as suits the device"
    )
    batch_norm: Literal["auto", "frozen", "train"] = parameter(
        "Optimisation", "auto", "the backbone's running statistics; `auto`: frozen if pretrained"
    )

    head_init: Literal["random", "probe", "weights"] = parameter(
        "Frozen phase", "random", "initial head: random, the linear probe or that of `weights`"
    )
    frozen_epochs: int = parameter(
        "Frozen phase", 20, "epochs of the head alone; 0: skip this phase", 0, MANY
    )
    frozen_learning_rate: float = parameter(
        "Frozen phase", 0.0, "learning rate; 0: the suggestion of lr_find", 0, 100
    )

    epochs: int = parameter("Fine-tuning", 10, "epochs; 0: skip this phase", 0, MANY)
    frozen_layer_groups: int = parameter(
        "Fine-tuning", 0, "layer groups, from the stem up, that stay frozen", 0, MANY
    )
    learning_rate: float = parameter("Fine-tuning", 0.003, "learning rate of the head", 0, 100)
    layer_decay: float = parameter(
        "Fine-tuning", 0.75, "learning rate of a layer group relative to the one above", 0, 1
    )

    schedule: Literal["one_cycle", "flat_cosine", "warm_restarts"] = parameter(
        "Schedule", "one_cycle", "schedule of the learning rate"
    )
    restarts: int = parameter(
        "Schedule", 3, "cycles of `warm_restarts`, each twice as long as the last", 1, 100_000
    )
    ema_decay: float = parameter(
        "Schedule", 0.0, "decay of a moving average of the weights; 0: off", 0, 1
    )
    start_weights_share: float = parameter(
        "Schedule", 0.0, "share of the weights from before fine-tuning in the result", 0, 1
    )
    patience: int = parameter(
        "Schedule", 0, "epochs without a lower log loss before stopping; 0: never", 0, MANY
    )
    start_size_fraction: float = parameter(
        "Schedule", 1.0, "share of the training size in the first epochs", 0.05, 1
    )

    tta_views: int = parameter(
        "Evaluation",
        0,
        "augmented views per photo, to measure test-time augmentation",
        0,
        MANY,
        retrain=False,
    )
    coverage: float = parameter(
        "Evaluation", 0.95, "how often prediction sets hold the species", 0.5, 0.999, retrain=False
    )
    known_rejection_rate: float = parameter(
        "Evaluation", 0.05, "share of known birds called unknown", 0.001, 0.5, retrain=False
    )
    ood_score: Literal["auto", "msp", "energy", "mahalanobis", "knn", "mean_logits"] = parameter(
        "Evaluation", "auto", "score of unknown birds; `auto` compares them", retrain=False
    )
    not_birds: str = parameter(
        "Evaluation", "", "folder of photos without birds to compare on, or `drawn`", retrain=False
    )
    open_set_run: str = parameter(
        "Evaluation", "", "run with an `unseen_share`, whose score is used", retrain=False
    )

    weights_dtype: Literal["fp32", "fp16", "int8"] = parameter(
        "Run", "fp16", "number format of the weights in the model file", retrain=False
    )
    track: list[Literal["tensorboard", "clearml", "mlflow"]] = parameter(
        "Run", [], "experiment trackers", retrain=False
    )  # not a property of the model: `model_dump` leaves it out
    out: str = parameter("Run", "runs/notebook", "folder of the run", retrain=False, exclude=True)


class ArchOptions(BaseModel):
    """The keys of `arch_options` that do not go to timm."""

    model_config = STRICT | ConfigDict(extra="allow")

    mean: list[float] | None = Field(None, min_length=3, max_length=3)
    std: list[float] | None = Field(None, min_length=3, max_length=3)


class TeacherParameters(ArchOptions):
    """The keys of `teacher`; further ones go to timm."""

    arch: str
    weights: str = "pretrained"
    run: str = ""
    num_classes: int = Field(0, ge=0, le=MANY)
    probe_weight: float = Field(0.0, ge=0, le=1)


SCHEMA: dict[str, Any] = Parameters.schema_of()
