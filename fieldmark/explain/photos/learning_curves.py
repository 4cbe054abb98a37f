"""Measure accuracy by the number of training photos per species, with a probe on fixed features."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from fieldmark.data.parallel import map_threads
from fieldmark.explain.folds import group_names, split_folds
from fieldmark.network.probe import fit_probe

SIZES = (2, 3, 4, 6, 8, 12, 16, 20, 30, 40, 60, 80, 120, 160, 240, 320)  # photos per species
NEARLY_ALL = 0.9  # share of a species' photos from which a size says no more than all of them
MIN_PHOTOS = 4  # of a species: two folds with two photos each
MAX_PHOTOS = 10_000  # of larger runs a sample, in one repeat, which takes a CPU minutes
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class LearningCurves:
    """Which of n photos a probe gets right, for P numbers of training photos, in R repeats.

    `sizes` [P] are the photos per species that were asked for, the last one all there are; `used`
    [P, C] the mean number that each species had. `correct` [R, P, n] says which photos were right,
    each judged by a probe that did not learn from it. `rows` [n] are the photos' rows in the run's
    table, `truth` [n] their labels, `groups` [n] their groups of near-duplicates. `available` [C]
    are the photos that the run has of each label, which are more than n where n are a sample.
    """

    sizes: np.ndarray
    used: np.ndarray
    correct: np.ndarray
    rows: np.ndarray
    truth: np.ndarray
    groups: np.ndarray
    available: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """Return the share of the repeats in which each photo is right, [P, n]."""
        return self.correct.mean(0)

    def photos_per_species(self, labels: np.ndarray) -> np.ndarray:
        """Return the training photos of some species at each point, [P]: the mean over photos."""
        return self.used[:, self.truth[np.isin(self.truth, labels)]].mean(1)

    def of_group(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the accuracy of the photos of some species at each point, [B, P].

        `weights` [B, n] say how often each photo counts, as `resample` draws them.
        """
        members = np.isin(self.truth, labels)
        weights = weights[:, members]
        return weights @ self.accuracy[:, members].T / weights.sum(1, keepdims=True)

    def resample(self, seed: int = 0) -> np.ndarray:
        """Return how often each photo counts in bootstrap samples, as `resample_photos`, [B, n]."""
        return resample_photos(self.truth, self.groups, seed=seed)


def measure_learning_curves(
    features: np.ndarray, photos: pd.DataFrame, truth: np.ndarray, folds: int, repeats: int, seed=0
) -> LearningCurves:
    """Return the learning curves of a linear probe on features [n, D] of photos.

    `truth` [n] are their labels. In each repeat the photos are divided into folds, and each fold is
    judged by probes on subsets of the others, every larger one of which contains the smaller ones.
    Species with fewer than MIN_PHOTOS photos are left out. Of more than MAX_PHOTOS photos a sample
    is measured, in one repeat.
    """
    available = np.bincount(truth)
    rows = np.flatnonzero(available[truth] >= MIN_PHOTOS)
    if len(rows) > MAX_PHOTOS:
        rows, repeats = rows[sample_species(truth[rows], MAX_PHOTOS, seed)], 1
    features, photos, truth = features[rows], photos.iloc[rows], truth[rows]
    facts = rows, truth, group_names(photos).to_numpy(object), available
    count = np.bincount(truth, minlength=len(available))
    if len(np.unique(truth)) < 2:
        correct, used = np.zeros((1, 0, len(rows)), bool), np.zeros((0, len(count)))
        return LearningCurves(np.zeros(0), used, correct, *facts)
    folds = min(folds, int(count[count >= MIN_PHOTOS].min()))
    sizes = choose_sizes(count[count >= MIN_PHOTOS] * (folds - 1) / folds)
    correct = np.zeros((repeats, len(sizes), len(truth)), bool)

    def measure(task: tuple[int, np.ndarray, np.ndarray]) -> np.ndarray:
        """Fill in what is right of one fold; return the training photos of species, [P, C]."""
        repeat, train, test = task
        used = np.zeros((len(sizes), len(count)))
        order = rank_in_species(truth[train], seed + repeat)
        for point, size in enumerate(sizes):
            chosen = train[order < size]
            logits, labels = predict_others(features[chosen], truth[chosen], features[test])
            correct[repeat, point, test] = labels[logits.argmax(1)] == truth[test]
            used[point] = np.bincount(truth[chosen], minlength=len(count))
        return used

    tasks = [
        (repeat, train, test)
        for repeat in range(repeats)
        for train, test in split_folds(photos, folds, seed + repeat)
    ]
    with threadpool_limits(1):
        used = np.mean(map_threads(measure, tasks), axis=0)
    return LearningCurves(sizes, used, correct, *facts)


def sample_species(truth: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return sorted rows of `count` random photos [n], the same share of each species.

    Species keep MIN_PHOTOS photos if that is possible.
    """
    order = rank_in_species(truth, seed)
    place = (order + 0.5) / np.bincount(truth)[truth]
    return np.sort(np.lexsort((place, order >= MIN_PHOTOS))[:count])


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


def resample_photos(
    truth: np.ndarray, groups: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return how often each photo is drawn in bootstrap samples within species, [B, n].

    Groups of near-duplicates, `groups` [n], are drawn as one. All repeats and points of a photo
    count together, because the same photos judge in all of them. Only these are drawn, and not the
    training photos: intervals hold for the samples that the probes learned from.
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, len(truth)), np.float32)
    for label in np.unique(truth):
        members = np.flatnonzero(truth == label)
        names, _ = pd.factorize(groups[members])
        count = names.max() + 1
        weights[:, members] = rng.multinomial(count, np.full(count, 1 / count), resamples)[:, names]
    return weights
