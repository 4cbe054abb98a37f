"""Cross-validation on `train`, which chooses between augmentations and uses no other photo."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import set_seed
from sklearn.model_selection import StratifiedGroupKFold

from fieldmark.data.cache import PixelCache, build_cache
from fieldmark.data.loaders import make_dataloaders
from fieldmark.data.subclasses import class_names, list_classes
from fieldmark.errors import DatasetError
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from fieldmark.network.weights import (
    check_previous_splits,
    find_weights_file,
    previous_splits,
    resolve_weights,
)
from fieldmark.recipe import Recipe
from fieldmark.replacement import remove_entry
from fieldmark.run import Run, write_table
from fieldmark.run_folder import read_table
from fieldmark.training.fit_recipe import fit_recipe, load_split
from fieldmark.training.fold_predictions import COLUMNS, predict_views
from fieldmark.training.grounds import find_grounds, held_out_grounds, load_grounds

FOLDS = 5
HELD_OUT = "fold"  # the split of the photos that a fold leaves out


class Fold(NamedTuple):
    """A part of `train` that is left out: a split table, where its photos are in HELD_OUT.

    `rows` are the positions, among all photos of `train`, of those that still are.
    """

    number: int
    table: pd.DataFrame
    rows: np.ndarray


class CacheRows:
    """Some rows of a pixel cache, in their own order."""

    def __init__(self, cache: PixelCache, rows: np.ndarray):
        self.cache, self.rows = cache, rows

    def read_rows(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return photos and aspects, as `PixelCache.read_rows`."""
        return self.cache.read_rows([int(self.rows[row]) for row in rows])


class FoldTrainer:
    """Train a recipe on folds, whose photos are decoded once, and predict what they leave out."""

    def __init__(self, recipe: Recipe, folder: Path, split: pd.DataFrame, survey: pd.DataFrame):
        self.recipe, self.folder, self.cache = recipe, folder, None
        preparation = Preparation.for_arch(recipe.arch, recipe.size, **recipe.arch_options)
        size, filter = preparation.size, preparation.filter
        if recipe.cache:
            self.cache = build_cache(split, survey, folder, size, filter)
        grounds = load_grounds(find_grounds(recipe.grounds, recipe.not_birds, True), size)
        self.options = asdict(preparation) | recipe.group("Augmentation") | {"grounds": grounds}
        keys = ("batch_size", "num_workers", "train_size")
        self.options |= {key: getattr(recipe, key) for key in keys}
        self.previous = previous_splits(find_weights_file(resolve_weights(recipe.weights)))

    def check_start(self, fold: Fold) -> None:
        """Raise WeightsError if the start weights have learned photos that are left out."""
        check_previous_splits(self.previous, fold.table)

    def fit(self, fold: Fold, run: Run, start: Network | None = None) -> Network:
        """Train on the photos that a fold has in `train`, from `start` as `fit_recipe` does."""
        set_seed(self.recipe.seed, reproducible=True)
        cache = CacheRows(self.cache, fold.rows) if self.cache else None
        dls = make_dataloaders(fold.table, self.folder, cache=cache, **self.options)
        return fit_recipe(self.recipe, dls, fold.table, self.folder, run, start)

    def predict(self, networks: Sequence[Network], fold: Fold) -> list[pd.DataFrame]:
        """Predict the photos that a fold leaves out; return a table with COLUMNS per network."""
        left_out = fold.table[fold.table["split"] == HELD_OUT]
        grounds = held_out_grounds(self.recipe.not_birds)
        tables = predict_views(networks, left_out, self.folder, grounds)
        return [table.assign(fold=fold.number) for table in tables]


def cross_validate(recipe: Recipe, out: Path, folds: int = FOLDS) -> Iterator[pd.DataFrame]:
    """Train a recipe on all folds of its `train` but one, and predict that one, for each fold.

    Yields a row for each prediction, with COLUMNS: the `view` is WHOLE for a photo as it is, else
    its share of a ground. The epoch is chosen on `valid`, as in any training; no other split is
    used. Each fold is written into `out`, where a later call of the same recipe finds it. Raises
    WeightsError if the start weights or the teacher have learned photos of `train`.
    """
    folder, split, survey = load_split(recipe)
    trainer = FoldTrainer(recipe, folder, split, survey)
    for fold in split_folds(split, folds, recipe.seed):
        trainer.check_start(fold)
        file = out / f"fold-{fold.number}-{identify([recipe], fold)}.csv"
        if not file.is_file():
            run = Run(out / f"fold-{fold.number}")
            network = trainer.fit(fold, run)
            (predicted,) = trainer.predict([network], fold)
            write_table(file, predicted[COLUMNS])
            remove_entry(run.folder)
        yield read_table(file)


def split_folds(split: pd.DataFrame, folds: int, seed: int) -> Iterator[Fold]:
    """Yield the folds of the photos in `train`.

    Each class has about equally many photos in each fold, and near-duplicates share one. Raises
    DatasetError if a class has too few photos.
    """
    train = split[split["split"] == "train"]
    groups = train.get("group", train["path"])
    groups = groups.where(groups.notna() & (groups != ""), train["path"])
    folds = min(folds, class_names(train).value_counts().max())
    divide = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer photos than there are folds
        divided = list(divide.split(train, class_names(train), groups))
    for number, (rows, left_out) in enumerate(divided, 1):
        table = split.copy()
        table.loc[train.index[left_out], "split"] = HELD_OUT
        if missing := sorted(list_classes(split).keys() - list_classes(table).keys()):
            raise DatasetError(
                f"{missing[0]} has too few photos for {folds} folds. Add photos of it, or set a "
                "lower number of folds."
            )
        yield Fold(number, table[table["split"].isin(["train", "valid", HELD_OUT])], rows)


def identify(recipes: Sequence[Recipe], fold: Fold, *further: Any) -> str:
    """Return a hash of what decides the predictions of a fold, `further` facts included."""
    facts = [recipe.training_keys() | {"not_birds": recipe.not_birds} for recipe in recipes]
    text = json.dumps([facts, further], sort_keys=True)
    text += fold.table[["path", "label", "split"]].to_csv()
    return hashlib.sha256(text.encode()).hexdigest()[:8]
