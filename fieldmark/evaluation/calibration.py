"""Probabilities that mean what they say: fit a temperature, and measure how far off they are."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

BINS = 15
RANGE = 20  # a temperature is at most so many times over or under 1


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the number that logits [n, C] are divided by so that the likelihood of `truth` peaks.

    Guo et al. 2017. A standard normal prior on its logarithm keeps it sane where photos are few
    and all of them right, which alone would make any answer certain.
    """

    def loss(log: float) -> float:
        scaled = log_softmax(logits.astype(np.float64) / np.exp(log), axis=1)
        return -scaled[np.arange(len(truth)), truth].sum() + log**2 / 2

    ends = (-np.log(RANGE), np.log(RANGE))
    return float(np.exp(minimize_scalar(loss, bounds=ends, method="bounded").x))


def reliability(sure: np.ndarray, right: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """List for each bin of certainty how many photos (`n`), how `sure`, and the share `right`.

    `sure` [n] is the probability of the first answer, `right` [n] whether it is the true one.
    Bins are equally wide; empty ones are left out.
    """
    place = np.minimum((sure * bins).astype(int), bins - 1)
    counts, sums, hits = (
        np.bincount(place, weights, minlength=bins) for weights in (None, sure, right)
    )
    table = pd.DataFrame({"n": counts, "sure": sums, "right": hits})[counts > 0]
    return table.assign(sure=table["sure"] / table["n"], right=table["right"] / table["n"])


def expected_error(sure: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error (ECE): how far `sure` and `right` lie apart.

    The mean over bins, each weighted by its photos (Naeini et al. 2015). A perfect model's is
    above 0 too, the more the fewer photos.
    """
    place = np.minimum((sure * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, sure - right)).sum() / len(sure))
