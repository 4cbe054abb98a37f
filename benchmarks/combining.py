"""Ways to combine what a model says of several photos of one bird, and what they give."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.results import number, percent
from birds.decision import unknown_threshold
from birds.same_bird import combine_groups
from fieldmark.evaluation.conformal import apply_rule
from fieldmark.evaluation.metrics import ood_metrics
from fieldmark.evaluation.predictions import Predictions, from_probability
from fieldmark.evaluation.proposals import Proposals
from fieldmark.evaluation.thresholds import FOLDS, Applied, set_thresholds
from fieldmark.statistics import bootstrap_interval, wilson_interval

TINY = 1e-12  # of a probability whose logarithm is taken


def multiply(probability: np.ndarray, power: float) -> np.ndarray:
    """Return the product over photos [N, C] to a power, scaled to the sum 1."""
    logs = power * np.log(np.maximum(probability, TINY)).sum(0)
    product = np.exp(logs - logs.max())
    return product / product.sum()


PROBABILITY_WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # [N, C] -> [C]
    "one photo": lambda probability: probability[0],
    "mean": lambda probability: probability.mean(0),
    "geometric mean": lambda probability: multiply(probability, 1 / len(probability)),
    "product": lambda probability: multiply(probability, 1.0),
}
UNKNOWN_WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # [G, N] -> [G]
    "one photo": lambda unknown: unknown[:, 0],
    "mean": lambda unknown: unknown.mean(1),
    "median": lambda unknown: np.median(unknown, axis=1),
    "minimum": lambda unknown: unknown.min(1),
}


def compare_probabilities(bursts: Predictions, frames: int, card: dict) -> list[list[str]]:
    """Return a row for each way to combine probabilities, for bursts of so many frames.

    The sets are those of all birds, also of those that would be called unknown.
    """
    truth, rows = bursts.truth[::frames], []
    groups = bursts.probability.reshape(len(truth), frames, -1)
    for name, combine in PROBABILITY_WAYS.items():
        combined = np.stack([combine(group) for group in groups]).astype(np.float64)
        combined /= combined.sum(1, keepdims=True)
        covered, size = apply_rule(combined, truth, card["thresholds"]["shortlist"])
        right = combined.argmax(1) == truth
        loss = -np.log(np.maximum(combined[np.arange(len(truth)), truth], TINY))
        cells = [percent(wilson_interval(int(each.sum()), len(each))) for each in (right, covered)]
        mean_loss = bootstrap_interval([loss], np.mean, proportion=False)
        rows.append([name, str(len(truth)), *cells, f"{size.mean():.2f}", number(mean_loss)])
    return rows


def compare_unknown(
    known: np.ndarray, strangers: np.ndarray, frames: int, card: dict
) -> list[list[str]]:
    """Return a row for each way to combine the unknown scores of known and of other birds."""
    threshold, rows = unknown_threshold(card), []
    for name, combine in UNKNOWN_WAYS.items():
        scores = [combine(values.reshape(-1, frames)) for values in (known, strangers)]
        called = [(int((values > threshold).sum()), len(values)) for values in scores]
        auroc = ood_metrics(scores[0], scores[1], threshold)["auroc"]
        shares = [percent(wilson_interval(*counts)) for counts in called]
        rows.append([name, *(str(len(values)) for values in scores), *shares, number(auroc)])
    return rows


def combine_photos(photos: Predictions, groups: list[np.ndarray]) -> Predictions:
    """Return the function's answer for groups of rows, each of one bird, as predictions."""
    rows, firsts = np.concatenate(groups), np.array([group[0] for group in groups])
    starts = np.cumsum([0, *map(len, groups[:-1])])
    columns = photos.probability[rows], photos.ood_score[rows]
    probability, unknown = combine_groups(*columns, starts)
    facts = {"labels": photos.labels, "paths": [photos.paths[row] for row in firsts]}
    return from_probability(
        probability, 1.0, truth=photos.truth[firsts], ood_score=unknown, **facts
    )


class SpeciesFolds:
    """Thresholds for the species of each of ten folds, set on photos of all other species.

    `calibration` are the photos, as they are and pasted, that set the thresholds of the card.
    """

    def __init__(self, calibration: Proposals, card: dict, seed: int = 0):
        labels = calibration.crops.labels
        self.fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
        rule, unknown = card["thresholds"]["shortlist"], card["thresholds"]["unknown"]
        options = rule["method"], rule["level"], unknown["rejected"]
        truth = calibration.crops.truth[calibration.starts]
        self.rules = [
            set_thresholds(calibration.select(self.fold[truth] != fold), *options)
            for fold in range(FOLDS)
        ]

    def choose(self, photos: Proposals) -> Predictions:
        """Return the predictions for the crops that the function would choose."""
        rows = np.zeros(len(photos), int)
        folds = self.fold[photos.crops.truth[photos.starts]]
        for fold, rules in enumerate(self.rules):
            chosen = photos.choose_rows(rules["unknown"]["threshold"])
            rows = np.where(folds == fold, chosen, rows)
        return photos.crops.select(rows)

    def apply(self, answers: Predictions) -> Applied:
        """Return the prediction sets and refusals of answers for birds."""
        n, folds = len(answers), self.fold[answers.truth]
        covered, size, rejected = np.zeros(n, bool), np.zeros(n, int), np.zeros(n, bool)
        for fold, rules in enumerate(self.rules):
            own = folds == fold
            part = answers.probability[own], answers.truth[own]
            covered[own], size[own] = apply_rule(*part, rules["shortlist"])
            rejected[own] = answers.ood_score[own] > rules["unknown"]["threshold"]
        return Applied(answers, covered, size, rejected)


def split_groups(
    keys: pd.Series, size: int, most: int | None = None, seed: int = 0
) -> list[np.ndarray]:
    """Return the rows of disjoint random groups of photos with equal keys, at most `most` a key."""
    rng, groups = np.random.default_rng(seed), []
    for rows in keys.groupby(keys, sort=True).indices.values():
        rows = rng.permutation(rows)
        starts = range(0, len(rows) - size + 1, size)[:most]
        groups += [rows[start : start + size] for start in starts]
    return groups
