"""The ways to train that benchmarks.train compares; `calibration` is the test set of all."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from fastai.vision import all as vision

from benchmarks.clock import Clock
from benchmarks.probe import embed_photos
from export.exporter import export_model
from fieldmark.data.cache import build_cache
from fieldmark.data.datasets import load_dataset
from fieldmark.data.loaders import make_dataloaders
from fieldmark.data.quality import remove_bad_photos
from fieldmark.data.splits import split_photos
from fieldmark.data.survey import survey_photos
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from fieldmark.network.probe import fit_probe
from fieldmark.network.weights import resolve_weights
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from fieldmark.training import learner
from fieldmark.training.create_teacher import create_teacher
from fieldmark.training.distillation import Distillation
from fieldmark.training.fit import fit_phase
from fieldmark.training.grounds import find_grounds, load_grounds
from fieldmark.training.mixed_precision import mixed_precision_callbacks


def list_split(recipe: Recipe) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Return folder, survey and split of a recipe's photos."""
    folder, listed = load_dataset(recipe.photos, recipe.test_name, recipe.crop)
    survey = survey_photos(listed, folder)
    photos, _ = remove_bad_photos(survey, recipe.allow_duplicates, recipe.min_photos)
    shares = recipe.valid_share, recipe.calibration_share
    return folder, survey, split_photos(photos, *shares, recipe.seed)


def train_as_documented(recipe: Recipe, clock: Clock, frozen: bool) -> None:
    """Train as fastai's documentation does: three epochs of the head, three of the network.

    `frozen` keeps the batch norms of the frozen backbone unchanged, which fastai does not.
    """
    folder, _, photos = list_split(recipe)
    clock.started = time.perf_counter()  # fastai needs no survey
    photos = photos[photos["split"].isin(["train", "calibration"])]
    photos = photos.assign(is_test=photos["split"] == "calibration")
    options: dict[str, Any] = {"path": str(folder), "valid_col": "is_test"}
    size = Preparation.for_arch(recipe.arch).size
    options |= {"item_tfms": vision.Resize(size), "batch_tfms": vision.aug_transforms()}
    table = photos[["path", "label", "is_test"]]
    dls = vision.ImageDataLoaders.from_df(table, bs=recipe.batch_size, **options)
    options = {"train_bn": False, "cbs": vision.BnFreeze()} if frozen else {}
    file = resolve_weights(recipe.weights)
    overlay = {} if file == "pretrained" else {"pretrained_cfg_overlay": {"file": file}}
    learn = vision.vision_learner(dls, recipe.arch, **overlay, **options)
    learn.add_cb(clock)
    clock.test = dls.valid
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(3, freeze_epochs=3)


def train_probe(recipe: Recipe, clock: Clock) -> None:
    """Fit a linear probe to the embeddings of the frozen backbone."""
    folder, _, photos = list_split(recipe)
    photos = photos[photos["split"].isin(["train", "calibration"])]
    embeddings, labels = embed_photos(recipe.arch, recipe.weights, folder, photos)
    train = (photos["split"] == "train").to_numpy()
    probe = fit_probe(embeddings[train], labels[train])
    figure = probe.accuracy(embeddings[~train], labels[~train])
    clock.points.append((clock.seconds(), figure["value"]))


def train_by_recipe(recipe: Recipe, clock: Clock, epochs: int, out: Path) -> None:
    """Train as train.ipynb does, and write the model file."""
    folder, survey, photos = list_split(recipe)
    clock.end_part("survey")
    options = recipe.arch_options
    preparation = Preparation.for_arch(recipe.arch, recipe.size, **options)
    size, filter = preparation.size, preparation.filter
    cache = build_cache(photos, survey, folder, size, filter, out / "cache") if epochs else None
    loading = {"batch_size": recipe.batch_size, "train_size": recipe.train_size, "cache": cache}
    grounds = load_grounds(find_grounds(recipe.grounds, recipe.not_birds), size)
    loading |= recipe.group("Augmentation") | {"grounds": grounds}
    dls = make_dataloaders(photos, folder, **asdict(preparation), **loading)
    clock.end_part("decode")
    weights = resolve_weights(recipe.weights)
    network = Network.create(recipe.arch, list(dls.vocab), preparation, weights, **options)
    learn = learner.make_learner(network, dls)
    clock.test = dls.test_dl(photos[photos["split"] == "calibration"], with_labels=True)
    run = Run(out).begin(recipe.training_keys(), photos)
    embeddings = learner.embed_splits(learn, folder, recipe.precision)
    if recipe.head_init == "probe":
        fit_probe(*embeddings["train"]).initialize_head(network.head)
    head = learner.head_learner(learn, embeddings)
    with head.no_bar(), head.no_logging():
        fit_phase(head, run, "frozen", recipe.frozen_epochs, recipe.frozen_learning_rate)
    clock.end_part("frozen")
    clock.evaluate(learn.model)
    if epochs:
        fine_tune(learn, run, recipe, clock, epochs, folder)
    facts = {"name": "benchmark", "trained_on": "", "licence": "", "architecture": recipe.arch}
    facts |= {"recipe": recipe.model_dump(), "weights": {}}
    export_model(network, photos, folder, facts, out)
    clock.end_part("file")
    clock.points.append((clock.seconds(), clock.points[-1][1]))


def fine_tune(learn, run: Run, recipe: Recipe, clock: Clock, epochs: int, folder: Path) -> None:
    """Fit the fine-tuning phase of a recipe, with its teacher if it has one."""
    callbacks = [*mixed_precision_callbacks(recipe.precision), clock]
    if recipe.teacher:
        teacher, _ = create_teacher(learn, folder, precision=recipe.precision, **recipe.teacher)
        weights = recipe.distillation_weight, recipe.auxiliary_weight
        callbacks.append(Distillation(teacher, *weights))
        clock.end_part("teacher")
    learn.freeze_to(recipe.frozen_layer_groups)
    rates = learner.layer_learning_rates(learn, recipe.learning_rate, recipe.layer_decay)
    with learn.no_bar(), learn.no_logging():
        options = {"schedule": recipe.schedule, "cbs": callbacks}
        fit_phase(learn, run, "fine-tuning", epochs, rates, **options)
    clock.end_part("fine-tuning")
    clock.evaluate(learn.model)  # with the weights of the best epoch
