"""Metrics with 95 % intervals: the same functions for the notebook, metrics.json and the card."""

from functools import partial

import numpy as np
import pandas as pd

from fieldmark.evaluation.calibration import expected_calibration_error
from fieldmark.evaluation.ood import auroc
from fieldmark.evaluation.predictions import Predictions
from fieldmark.statistics import DIGITS, bootstrap_interval, wilson_interval

DRAWS = 1000  # of bootstraps whose statistic is slow, and of simulations


def compute_metrics(predictions: Predictions) -> dict[str, dict]:
    """Measure accuracy, top-5 accuracy, and macro precision, recall and F1.

    Each has `value`, 95 % `interval`, `n` and `method`: Wilson for the first two, BCa for the
    macro means, which are over the classes that occur.
    """
    samples = [predictions.truth, predictions.predicted]
    return accuracy_metrics(predictions) | {
        f"macro_{name}": bootstrap_interval(samples, partial(macro_mean, name=name))
        for name in ("precision", "recall", "f1")
    }


def accuracy_metrics(predictions: Predictions) -> dict[str, dict]:
    """Measure accuracy and top-5 accuracy."""
    n = len(predictions)
    return {
        "accuracy": wilson_interval(int(predictions.correct.sum()), n),
        "top_5": wilson_interval(int((predictions.rank < 5).sum()), n),
    }


def accuracy_by_subclass(predictions: Predictions) -> dict[str, dict]:
    """Measure how often the species is right, by sub-class of the photos, the lowest first.

    Species without sub-classes are left out.
    """
    if predictions.subclass is None:
        return {}
    facts = {"subclass": predictions.subclass, "correct": predictions.correct}
    photos = pd.DataFrame(facts | {"label": np.array(predictions.labels)[predictions.truth]})
    divided = photos["label"][photos["subclass"] != photos["label"]]
    groups = photos[photos["label"].isin(divided)].groupby("subclass")["correct"]
    accuracy = {str(name): wilson_interval(int(part.sum()), len(part)) for name, part in groups}
    return dict(sorted(accuracy.items(), key=lambda item: item[1]["value"]))


def macro_mean(truth: np.ndarray, predicted: np.ndarray, name: str) -> float:
    """Return the mean precision, recall or F1 of the classes that occur in `truth`.

    Equal to scikit-learn's macro average over these classes, in a fiftieth of its time, which a
    bootstrap of thousands of photos needs.
    """
    classes = max(truth.max(), predicted.max()) + 1
    count = partial(np.bincount, minlength=classes)
    hits, predictions, photos = count(truth[truth == predicted]), count(predicted), count(truth)
    divisor = {"precision": predictions, "recall": photos, "f1": (predictions + photos) / 2}[name]
    return float((hits / np.maximum(divisor, 0.5))[photos > 0].mean())


def calibration_metrics(predictions: Predictions) -> dict[str, dict]:
    """Measure the expected calibration error with the temperature and without it.

    `ece_if_calibrated` is what a perfectly calibrated model shows with as many photos.
    """
    return {
        "ece_before_temperature": calibration_error(predictions.scaled(1.0)),
        "ece": calibration_error(predictions),
        "ece_if_calibrated": simulate_calibration_error(predictions.confidence),
    }


def calibration_error(predictions: Predictions) -> dict:
    """Measure the expected calibration error with its BCa interval."""
    samples = [predictions.confidence.astype(np.float64), predictions.correct]
    return bootstrap_interval(samples, expected_calibration_error)


def simulate_calibration_error(confidence: np.ndarray, seed: int = 0) -> dict:
    """Simulate the calibration error of photos [n] that are correct as often as is claimed."""
    draws = np.random.default_rng(seed).random((DRAWS, len(confidence))) < confidence
    errors = [expected_calibration_error(confidence, correct) for correct in draws]
    interval = [round(float(end), DIGITS) for end in np.quantile(errors, [0.025, 0.975])]
    value = round(float(np.mean(errors)), DIGITS)
    return {"value": value, "interval": interval, "n": len(confidence), "method": "simulation"}


def set_metrics(covered: np.ndarray, size: np.ndarray, rejected: np.ndarray) -> dict[str, dict]:
    """Measure prediction sets and rejections of photos [n] of species that the model has.

    Coverage and size are those of the photos that are not called unknown.
    """
    kept = ~rejected
    return {
        "known_rejection_rate": wilson_interval(int(rejected.sum()), len(rejected)),
        "coverage": wilson_interval(int(covered[kept].sum()), int(kept.sum())),
        "prediction_set_size": bootstrap_interval([size[kept]], np.mean, proportion=False),
    }


def coverage_by_family(
    covered: np.ndarray, truth: np.ndarray, families: list[str | None]
) -> dict[str, dict]:
    """Measure the coverage of each family, given those of the C labels, the lowest first."""
    family = np.array([families[label] or "" for label in truth])
    coverage = {
        name: wilson_interval(int(covered[family == name].sum()), int((family == name).sum()))
        for name in sorted(set(family) - {""})
    }
    return dict(sorted(coverage.items(), key=lambda item: item[1]["value"]))


def ood_metrics(
    familiar: np.ndarray, unfamiliar: np.ndarray, threshold: float | None
) -> dict[str, dict]:
    """Measure how well scores separate familiar photos [n] from unfamiliar ones [m].

    `called_unknown` is the proportion of unfamiliar photos above the threshold, if there is one.
    """
    options = {"paired": False, "resamples": DRAWS}
    measured = {"auroc": bootstrap_interval([familiar, unfamiliar], auroc, **options)}
    if threshold is not None:
        above = int((unfamiliar > threshold).sum())
        measured["called_unknown"] = wilson_interval(above, len(unfamiliar))
    return measured
