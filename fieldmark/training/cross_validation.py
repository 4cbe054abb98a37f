"""Cross-validation on `train`, which chooses between augmentations and uses no other photo."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import set_seed
from sklearn.model_selection import StratifiedGroupKFold

from fieldmark.data.cache import PixelCache, build_cache
from fieldmark.data.loaders import make_dataloaders
from fieldmark.data.subclasses import class_names, list_classes
from fieldmark.errors import DatasetError
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


class CacheRows:
    """Some rows of a pixel cache, in their own order."""

    def __init__(self, cache: PixelCache, rows: np.ndarray):
        self.cache, self.rows = cache, rows

    def read_rows(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return photos and aspects, as `PixelCache.read_rows`."""
        return self.cache.read_rows([int(self.rows[row]) for row in rows])


def cross_validate(recipe: Recipe, out: Path, folds: int = FOLDS) -> Iterator[pd.DataFrame]:
    """Train a recipe on all folds of its `train` but one, and predict that one, for each fold.

    Yields a row for each prediction, with COLUMNS: the `view` is WHOLE for a photo as it is, else
    its share of a ground. The epoch is chosen on `valid`, as in any training; no other split is
    used. Each fold is written into `out`, where a later call of the same recipe finds it. Raises
    WeightsError if the start weights or the teacher have learned photos of `train`.
    """
    folder, split, survey = load_split(recipe)
    previous = previous_splits(find_weights_file(resolve_weights(recipe.weights)))
    preparation = Preparation.for_arch(recipe.arch, recipe.size, **recipe.arch_options)
    grounds = load_grounds(find_grounds(recipe.grounds, recipe.not_birds, True), preparation.size)
    cache = None
    if recipe.cache:
        cache = build_cache(split, survey, folder, preparation.size, preparation.filter)
    options = asdict(preparation) | recipe.group("Augmentation") | {"grounds": grounds}
    options |= {key: getattr(recipe, key) for key in ("batch_size", "num_workers", "train_size")}
    for number, (table, rows) in enumerate(split_folds(split, folds, recipe.seed), 1):
        check_previous_splits(previous, table)
        file = out / f"fold-{number}-{identify(recipe, table)}.csv"
        if not file.is_file():
            set_seed(recipe.seed, reproducible=True)
            options["cache"] = CacheRows(cache, rows) if cache else None
            dls = make_dataloaders(table, folder, **options)
            run = Run(out / f"fold-{number}")
            network = fit_recipe(recipe, dls, table, folder, run)
            left_out = table[table["split"] == HELD_OUT]
            predicted = predict_views(network, left_out, folder, held_out_grounds(recipe.not_birds))
            write_table(file, predicted.assign(fold=number)[COLUMNS])
            remove_entry(run.folder)
        yield read_table(file)


def split_folds(
    split: pd.DataFrame, folds: int, seed: int
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Yield the table of each fold, and which training photos are still in `train`.

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
    for rows, left_out in divided:
        table = split.copy()
        table.loc[train.index[left_out], "split"] = HELD_OUT
        if missing := sorted(list_classes(split).keys() - list_classes(table).keys()):
            raise DatasetError(
                f"{missing[0]} has too few photos for {folds} folds. Add photos of it, or set a "
                "lower number of folds."
            )
        yield table[table["split"].isin(["train", "valid", HELD_OUT])], rows


def identify(recipe: Recipe, table: pd.DataFrame) -> str:
    """Return a hash of what decides the predictions of a fold."""
    facts = recipe.training_keys() | {"not_birds": recipe.not_birds}
    text = json.dumps(facts, sort_keys=True) + table[["path", "label", "split"]].to_csv()
    return hashlib.sha256(text.encode()).hexdigest()[:8]
