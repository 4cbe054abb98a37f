"""Which species stand apart and which overlap, by the nearest photos of each photo."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import silhouette_samples

from fieldmark.explain.map.neighbours import NEIGHBOURS, find_neighbours, to_unit_vectors, vote
from fieldmark.statistics import bootstrap_interval, wilson_interval


def vote_left_out(
    embeddings: np.ndarray, truth: np.ndarray, photos: pd.DataFrame, k: int = NEIGHBOURS
) -> np.ndarray:
    """Return the label of each photo by a vote of its `k` nearest others, int [n].

    The embeddings [n, D] must be of a network that did not see the labels `truth` [n]. A photo and
    its near-duplicates, of the same `group` in `photos`, do not vote on it.
    """
    names = photos["path"]
    if "group" in photos:
        names = photos["group"].where(photos["group"].fillna("").astype(bool), names)
    groups = pd.factorize(names)[0]
    vectors = to_unit_vectors(embeddings)
    return vote(find_neighbours(vectors, vectors, k, (groups, groups)), truth)


def vote_held_out(
    embeddings: np.ndarray, truth: np.ndarray, splits: np.ndarray, k: int = NEIGHBOURS
) -> np.ndarray:
    """Return the label of each `calibration` photo by its `k` nearest `train` photos, -1 of others.

    `embeddings` [n, D] are the network's own, which saw the labels of the other splits.
    """
    vectors = to_unit_vectors(embeddings)
    train, judged = splits == "train", splits == "calibration"
    votes = np.full(len(truth), -1)
    neighbours = find_neighbours(vectors[judged], vectors[train], min(k, int(train.sum())))
    votes[judged] = vote(neighbours, truth[train])
    return votes


def measure_overlap(
    votes: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    embeddings: np.ndarray | None = None,
) -> pd.DataFrame:
    """Measure how far each species overlaps others, the most isolated first.

    `overlap` is the share of its n judged photos that their neighbours give another species, with
    its Wilson interval; `other` is the one they most often give, to `with_other` photos. Photos
    with a vote of -1 are not judged. With `embeddings` [N, D], `silhouette` is the mean of
    Rousseeuw (1987) of a species' photos by cosine: 1 if it is far from any other, 0 or less if it
    lies in another. Species without a judged photo are left out.
    """
    names = np.array(labels, object)
    judged = votes >= 0
    silhouette = None if embeddings is None else measure_silhouette(embeddings, truth)
    rows = []
    for label in np.unique(truth[judged]):
        given = votes[judged & (truth == label)]
        others, counts = np.unique(given[given != label], return_counts=True)
        share = wilson_interval(int(counts.sum()), len(given))
        row = {"label": names[label], "overlap": share["value"], "low": share["interval"][0]}
        row |= {"high": share["interval"][1], "n": len(given), "photos": int(counts.sum())}
        row |= {"other": names[others[counts.argmax()]] if len(others) else ""}
        row |= {"with_other": int(counts.max(initial=0))}
        if silhouette is not None:
            row |= {"silhouette": float(silhouette[truth == label].mean())}
        rows.append(row)
    table = pd.DataFrame(rows)
    # of equal shares, that of more photos is more certain
    keys = {key: table[key] for key in ("overlap", "high", "silhouette") if key in table}
    if "silhouette" in keys:
        keys["silhouette"] = -keys["silhouette"]
    order = np.lexsort([table["label"], *reversed(keys.values())])
    return table.iloc[order].reset_index(drop=True)


def measure_silhouette(embeddings: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the silhouette of each photo among species, [n]; 0 where there is only one species."""
    if not 2 <= len(np.unique(truth)) < len(truth):
        return np.zeros(len(truth))
    return np.asarray(silhouette_samples(to_unit_vectors(embeddings), truth))


def list_overlapping_pairs(
    votes: np.ndarray, truth: np.ndarray, labels: Sequence[str]
) -> pd.DataFrame:
    """List pairs of species that overlap, most photos first.

    `photos` of either species have neighbours of the other one, of `n` judged of both; `share` has
    a Wilson interval.
    """
    judged = votes >= 0
    size = len(labels)
    matrix = np.zeros((size, size), int)
    np.add.at(matrix, (truth[judged], votes[judged]), 1)
    rows = []
    for first, second in combinations(range(size), 2):
        photos = int(matrix[first, second] + matrix[second, first])
        if photos:
            n = int(matrix[[first, second]].sum())
            share = wilson_interval(photos, n)
            low, high = share["interval"]
            row = {"first": labels[first], "second": labels[second], "photos": photos, "n": n}
            rows.append(row | {"share": share["value"], "low": low, "high": high})
    columns = ["first", "second", "photos", "n", "share", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("photos", ascending=False, kind="stable", ignore_index=True)


def compare_splits(embeddings: np.ndarray, truth: np.ndarray, splits: np.ndarray) -> pd.DataFrame:
    """Measure how near the photos of each split lie to the training photos of their species.

    `similarity` is the mean cosine similarity to the mean unit vector of the species' other `train`
    photos, with its bootstrap interval. Photos of species with no other train photo are left out.
    """
    vectors = to_unit_vectors(embeddings)
    train = splits == "train"
    sums = np.zeros((truth.max() + 1, vectors.shape[1]))
    np.add.at(sums, truth[train], vectors[train])
    means = to_unit_vectors(sums[truth] - vectors * train[:, None])
    cosine = (vectors * means).sum(1)
    has_others = np.bincount(truth[train], minlength=len(sums))[truth] > train
    rows = []
    for split in ("train", "valid", "calibration"):
        values = cosine[(splits == split) & has_others]
        if len(values) > 1:
            figure = bootstrap_interval((values,), np.mean, proportion=False, resamples=500)
            low, high = figure["interval"]
            row = {"split": split, "similarity": figure["value"], "low": low, "high": high}
            rows.append(row | {"n": len(values)})
    return pd.DataFrame(rows, columns=["split", "similarity", "low", "high", "n"])
