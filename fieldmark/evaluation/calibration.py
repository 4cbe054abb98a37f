"""Calibrated probabilities: fit a temperature, and measure the calibration error."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from fieldmark.network.subclasses import sum_to_labels

BINS = 15
MAX_FACTOR = 20  # a temperature lies between 1 / MAX_FACTOR and MAX_FACTOR


def fit_temperature(
    logits: np.ndarray,
    truth: np.ndarray,
    label_index: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> float:
    """Return the temperature that maximises the likelihood of `truth` [n] given logits [n, C].

    With `label_index` [B], the label of each sub-class, the logits are those of sub-classes.
    `weight` [n] is 1 by default.
    Guo et al. 2017. A standard normal prior on its logarithm bounds it where there are few photos
    and all are correct, which alone would drive it to 0.
    """
    weight = np.ones(len(truth)) if weight is None else weight

    def loss(log_temperature: float) -> float:
        scaled = sum_to_labels(logits.astype(np.float64) / np.exp(log_temperature), label_index)
        scaled = log_softmax(scaled, axis=1)
        likelihood = scaled[np.arange(len(truth)), truth] @ weight
        return -likelihood + log_temperature**2 / 2

    bounds = (-np.log(MAX_FACTOR), np.log(MAX_FACTOR))
    result: Any = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(result.x))


def bin_index(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Return the equally wide bin, 0 to bins - 1, of each confidence."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def reliability_table(
    confidence: np.ndarray, correct: np.ndarray, bins: int = BINS
) -> pd.DataFrame:
    """List number of photos (`n`), mean `confidence` and `accuracy` of each bin that is not empty.

    `confidence` [n] is the highest probability, `correct` [n] whether its label is the true one.
    """
    table = pd.DataFrame({"confidence": confidence, "accuracy": correct.astype(float)})
    groups = table.groupby(bin_index(confidence, bins))
    return groups.mean().assign(n=groups.size()).reset_index(drop=True)


def expected_calibration_error(
    confidence: np.ndarray, correct: np.ndarray, bins: int = BINS
) -> float:
    """Return the expected calibration error, the mean of |confidence - accuracy| over photos' bins.

    Naeini et al. 2015. A perfectly calibrated model's is above 0 too, the more the fewer photos.
    """
    differences = np.bincount(bin_index(confidence, bins), confidence - correct)
    return float(np.abs(differences).sum() / len(confidence))
