"""Measure accuracy by the number of training photos per species, with a probe on fixed features."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from fieldmark.data.parallel import map_threads
from fieldmark.explain.folds import split_folds
from fieldmark.network.probe import fit_probe

SIZES = (2, 3, 4, 6, 8, 12, 16, 20, 30, 40, 60, 80, 120, 160, 240, 320)  # photos per species
NEARLY_ALL = 0.9  # share of a species' photos from which a size says no more than all of them
MIN_PHOTOS = 4  # of a species: two folds with two photos each
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class LearningCurves:
    """Which of n photos a probe gets right, for P numbers of training photos, in R repeats.

    `sizes` [P] are the photos per species that were asked for, the last one all there are; `used`
    [P, C] the mean number that each species had. `correct` [R, P, n] says which photos were right,
    each judged by a probe that did not learn from it. `rows` [n] are the photos' rows in the run's
    table, `truth` [n] their labels.
    """

    sizes: np.ndarray
    used: np.ndarray
    correct: np.ndarray
    rows: np.ndarray
    truth: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """Return the share of the repeats in which each photo is right, [P, n]."""
        return self.correct.mean(0)

    def photos_per_species(self, labels: np.ndarray) -> np.ndarray:
        """Return the training photos of some species at each point, [P]: the mean over judges."""
        return self.used[:, self.truth[np.isin(self.truth, labels)]].mean(1)

    def of_group(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the accuracy of the photos of some species at each point, [B, P].

        `weights` [B, n] say how often each photo counts, as `resample_photos` draws them.
        """
        members = np.isin(self.truth, labels)
        weights = weights[:, members]
        return weights @ self.accuracy[:, members].T / weights.sum(1, keepdims=True)


def measure_learning_curves(
    features: np.ndarray, photos: pd.DataFrame, truth: np.ndarray, folds: int, repeats: int, seed=0
) -> LearningCurves:
    """Return the learning curves of a linear probe on features [n, D] of photos.

    `truth` [n] are their labels. In each repeat the photos are divided into folds, and each fold is
    judged by probes on subsets of the others, every larger one of which contains the smaller ones.
    Species with fewer than MIN_PHOTOS photos are left out.
    """
    count = np.bincount(truth)
    rows = np.flatnonzero(count[truth] >= MIN_PHOTOS)
    features, photos, truth = features[rows], photos.iloc[rows], truth[rows]
    if len(np.unique(truth)) < 2:
        correct, used = np.zeros((1, 0, len(rows)), bool), np.zeros((0, len(count)))
        return LearningCurves(np.zeros(0), used, correct, rows, truth)
    folds = min(folds, int(count[count >= MIN_PHOTOS].min()))
    sizes = choose_sizes(count[count >= MIN_PHOTOS] * (folds - 1) / folds)
    correct = np.zeros((repeats, len(sizes), len(truth)), bool)
    used = np.zeros((len(sizes), len(count)))

    def judge(task: tuple[int, np.ndarray, np.ndarray]) -> None:
        repeat, train, judges = task
        order = rank_in_species(truth[train], seed + repeat)
        for point, size in enumerate(sizes):
            chosen = train[order < size]
            logits, labels = predict_others(features[chosen], truth[chosen], features[judges])
            correct[repeat, point, judges] = labels[logits.argmax(1)] == truth[judges]
            used[point] += np.bincount(truth[chosen], minlength=len(count))

    tasks = [
        (repeat, train, judges)
        for repeat in range(repeats)
        for train, judges in split_folds(photos, folds, seed + repeat)
    ]
    with threadpool_limits(1):
        map_threads(judge, tasks)
    return LearningCurves(sizes, used / len(tasks), correct, rows, truth)


def choose_sizes(available: np.ndarray) -> np.ndarray:
    """Return the numbers of photos per species to learn from; the last one is infinite: all."""
    largest = NEARLY_ALL * np.median(available)
    return np.array([*(size for size in SIZES if size < largest), np.inf])


def rank_in_species(truth: np.ndarray, seed: int) -> np.ndarray:
    """Return a random position of each photo among those of its species, [n]."""
    shuffled = pd.Series(truth).sample(frac=1, random_state=seed)
    return shuffled.groupby(shuffled).cumcount().sort_index().to_numpy()


def predict_others(
    features: np.ndarray, truth: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of others [m, D] by a probe on features [n, D] of labels [n], of L kinds.

    Returns the logits [m, L], and the labels that their columns stand for, [L].
    """
    labels, index = np.unique(truth, return_inverse=True)
    return fit_probe(features, index).logits(others), labels


def resample_photos(truth: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return how often each photo is drawn in bootstrap samples within species, [B, n].

    All repeats and points of a photo count together, because the same photos judge in all of them.
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, len(truth)), np.float32)
    for label in np.unique(truth):
        members = np.flatnonzero(truth == label)
        share = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), share, resamples)
    return weights
