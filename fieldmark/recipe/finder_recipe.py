"""The schema of a finder's recipe: what it is trained on, and how."""

from typing import ClassVar, Self

from pydantic import model_validator

from fieldmark.errors import RecipeError
from fieldmark.recipe.checks import check_arch
from fieldmark.recipe.messages import validate
from fieldmark.recipe.parameters import ArchOptions
from fieldmark.recipe.recipe_file import MANY, RecipeFile, parameter


class FinderRecipe(RecipeFile):
    """The parameters cell of finder.ipynb, in its order.

    `model_dump` leaves `out` out: it is not a property of the model.
    """

    command: ClassVar[str] = "train-finder"

    photos: str = parameter(
        "Photos", "drawn", "folder of photos that a bird fills, or `drawn` (six invented species)"
    )
    split: str = parameter(
        "Photos", "", "split.csv of a species model: its `train` trains, its `valid` chooses"
    )
    not_birds: str = parameter(
        "Photos", "drawn", "folder of photos without birds, or `drawn`; half of them are held out"
    )
    whole_photos: str = parameter("Photos", "", "folder of whole photos of birds; may be left out")
    boxes: str = parameter(
        "Photos", "", "CSV of the birds in `whole_photos`: path, left, top, width, height"
    )
    teacher: str = parameter(
        "Photos", "", "YOLOX detector, an ONNX file, that finds these boxes if there is no CSV"
    )
    max_photos: int = parameter("Photos", 4000, "most photos of a kind kept in memory", 1, MANY)

    arch: str = parameter("Network", "test_efficientnet", "backbone, by timm's name")
    weights: str = parameter(
        "Network", "random", "`pretrained`, `random`, a safetensors file or a run's weights"
    )
    arch_options: dict = parameter(
        "Network", {}, "further arguments for timm; `mean` and `std` if they differ from timm's"
    )
    width: int = parameter("Network", 32, "channels of the feature pyramid", 8, 1024)
    size: int = parameter("Network", 128, "pixels of the input's longer side", 96, 1024)
    fine_size: int = parameter(
        "Network",
        0,
        "those of a second look, where no large bird is clear; 0: none",
        0,
        1024,
    )

    name: str = parameter("Model card", "", "the finder's name; default: the run's", retrain=False)
    trained_on: str = parameter("Model card", "", "short description of the photos", retrain=False)
    licence: str = parameter("Model card", "", "licence of the finder", retrain=False)

    seed: int = parameter("Training", 0, "seed of scenes and initial weights", 0, MANY)
    scenes: int = parameter("Training", 4000, "random scenes that it is trained on", 1, 100 * MANY)
    epochs: int = parameter("Training", 4, "evaluations during training, evenly spaced", 1, MANY)
    valid_scenes: int = parameter("Training", 200, "held-out scenes of an evaluation", 1, MANY)
    whole_share: float = parameter("Training", 0.3, "share of scenes from `whole_photos`", 0, 1)
    batch_size: int = parameter("Training", 8, "scenes per batch", 1, MANY)
    learning_rate: float = parameter("Training", 0.02, "learning rate of new layers", 0, 100)
    backbone_rate: float = parameter(
        "Training", 1.0, "learning rate of the backbone, relative to that of new layers", 0, 1
    )
    weight_decay: float = parameter("Training", 0.01, "weight decay", 0, 1)
    num_workers: int = parameter(
        "Training", -1, "processes that make scenes; -1: automatic", -1, 1024, retrain=False
    )

    fine_score: float = parameter(
        "Evaluation", 0.5, "score below which a finder looks again", 0, 1, retrain=False
    )
    fine_share: float = parameter(
        "Evaluation",
        0.4,
        "share of a photo's shorter side below which it looks again too",
        0,
        1,
        retrain=False,
    )
    found_share: float = parameter(
        "Evaluation",
        0.95,
        "share of larger birds that the threshold finds, on held-out scenes",
        0.5,
        0.999,
        retrain=False,
    )
    out: str = parameter("Run", "runs/finder", "folder of the run", retrain=False, exclude=True)

    @model_validator(mode="after")
    def check(self) -> Self:
        """Raise RecipeError unless the parameters fit each other."""
        if self.whole_photos and not (self.boxes or self.teacher):
            raise RecipeError(
                "`whole_photos` needs `boxes` or a `teacher`, which says where birds are."
            )
        if (self.boxes or self.teacher) and not self.whole_photos:
            raise RecipeError("`boxes` needs `whole_photos`, the folder of the photos.")
        if 0 < self.fine_size <= self.size:
            raise RecipeError("`fine_size` must be larger than `size`, or 0.")
        check_arch(self.arch)
        validate(ArchOptions, self.arch_options, "arch_options")
        return self
