"""The steps of train.ipynb up to the trained network, without figures: for many trainings."""

from pathlib import Path

import pandas as pd
from fastai.vision.all import DataLoaders

from fieldmark.data.datasets import load_dataset
from fieldmark.data.label_decisions import apply_decisions
from fieldmark.data.quality import remove_bad_photos
from fieldmark.data.splits import leave_out_species, split_photos
from fieldmark.data.subclasses import list_classes
from fieldmark.data.survey import survey_photos
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from fieldmark.network.probe import fit_probe
from fieldmark.network.weights import (
    fetch_weights,
    find_weights_file,
    load_head,
    previous_splits,
    resolve_weights,
    weights_digest,
)
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from fieldmark.training.create_teacher import create_teacher
from fieldmark.training.distillation import Distillation
from fieldmark.training.fit import accumulation_callbacks, fit_phase, mixing_callbacks
from fieldmark.training.learner import (
    embed_splits,
    head_learner,
    layer_learning_rates,
    make_learner,
)
from fieldmark.training.mixed_precision import mixed_precision_callbacks


def load_split(recipe: Recipe) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Return the folder of a recipe's photos, the table of their splits, and the survey of all."""
    folder, dataset = load_dataset(recipe.photos, recipe.test_name, recipe.crop)
    dataset, _ = apply_decisions(dataset, recipe.label_decisions)
    survey = survey_photos(dataset, folder)
    usable, _ = remove_bad_photos(survey, recipe.allow_duplicates, recipe.min_photos)
    previous = previous_splits(find_weights_file(resolve_weights(recipe.weights)))
    split = leave_out_species(usable, recipe.unseen_share, recipe.seed)
    shares = recipe.valid_share, recipe.calibration_share
    return folder, split_photos(split, *shares, recipe.seed, previous), survey


def fit_recipe(
    recipe: Recipe,
    dls: DataLoaders,
    split: pd.DataFrame,
    folder: Path,
    run: Run,
    start: Network | None = None,
) -> Network:
    """Train the network of a recipe on the photos of DataLoaders; return it.

    `split` is the table that the DataLoaders were made of. Checkpoints are written into `run`. The
    weights of `start`, a network of the same architecture and classes, take the place of the
    recipe's `weights` and `head_init`; `start` is not changed.
    """
    weights = "random" if start else resolve_weights(recipe.weights)
    fetch_weights(recipe.arch, weights)
    preparation = Preparation.for_arch(recipe.arch, recipe.size, **recipe.arch_options)
    options = {"dropout": recipe.dropout} | recipe.arch_options
    network = Network.create(recipe.arch, list_classes(split), preparation, weights, **options)
    keys = recipe.training_keys()
    if start:
        state = start.model.state_dict()
        network.model.load_state_dict(state)
        network.pretrained = True
        keys["weights"] = weights_digest({name: value.cpu() for name, value in state.items()})
    optimizer = recipe.optimizer, recipe.weight_decay, recipe.batch_norm
    learn = make_learner(network, dls, recipe.label_smoothing, *optimizer)
    run.begin(keys, split)
    with learn.no_bar(), learn.no_logging():
        fit_frozen(recipe, learn, folder, run, "start" if start else recipe.head_init)
        if recipe.epochs:
            fit_all(recipe, learn, folder, run)
    return network


def fit_frozen(recipe: Recipe, learn, folder: Path, run: Run, head_init: str) -> None:
    """Initialise the head of a Learner's network, and train it alone.

    `head_init` is that of a recipe, or `start` to leave the head as it is.
    """
    network = learn.network
    if head_init == "weights":
        load_head(network, find_weights_file(resolve_weights(recipe.weights)))
    if head_init != "probe" and not recipe.frozen_epochs:
        return
    embeddings = embed_splits(learn, folder, recipe.precision)
    if head_init == "probe":
        fit_probe(*embeddings["train"]).initialize_head(network.head)
    if recipe.frozen_epochs:
        head = head_learner(learn, embeddings)
        with head.no_bar(), head.no_logging():
            rate = recipe.frozen_learning_rate or head.lr_find(show_plot=False).valley
            fit_phase(head, run, "frozen", recipe.frozen_epochs, rate, seed=recipe.seed)


def fit_all(recipe: Recipe, learn, folder: Path, run: Run) -> None:
    """Fine-tune a Learner's network."""
    cbs = [
        *mixing_callbacks(recipe.mixup, recipe.cutmix),
        *accumulation_callbacks(recipe.accumulation_steps, recipe.batch_size),
        *mixed_precision_callbacks(recipe.precision),
    ]
    if recipe.teacher:
        teacher, _ = create_teacher(learn, folder, precision=recipe.precision, **recipe.teacher)
        cbs.append(Distillation(teacher, recipe.distillation_weight, recipe.auxiliary_weight))
    learn.freeze_to(recipe.frozen_layer_groups)
    rates = layer_learning_rates(learn, recipe.learning_rate, recipe.layer_decay)
    schedules = recipe.group("Schedule") | {"seed": recipe.seed, "cbs": cbs}
    fit_phase(learn, run, "fine-tuning", recipe.epochs, rates, **schedules)
