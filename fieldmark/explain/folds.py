"""Divide photos into folds that share no near-duplicates."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold


def split_folds(
    photos: pd.DataFrame, folds: int, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows that train and those that judge, of each fold.

    `photos` has columns `path`, `label` and, where near-duplicates are known, `group`: photos of a
    group stay together. Each fold holds the same share of every label, as far as groups allow.
    """
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    yield from splitter.split(photos, photos["label"], group_names(photos))


def group_names(photos: pd.DataFrame) -> pd.Series:
    """Return the group of near-duplicates of each photo; a photo without one is its own, by path.

    `photos` has columns `path` and, where near-duplicates are known, `group`.
    """
    groups = photos["path"]
    if "group" in photos:
        groups = photos["group"].where(photos["group"].astype(bool), photos["path"])
    return groups.fillna(photos["path"])
