"""Confidence intervals and paired tests: one method for each kind of figure, everywhere.

Proportions have Wilson intervals, other figures BCa bootstrap intervals, differences of two
proportions of the same photos Bonett-Price intervals.
"""

import warnings
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 2000
DIGITS = 4


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> dict:
    """Return a proportion with its Wilson interval (1927).

    Returns `value` and `interval` between 0 and 1, `n` and `method`.
    """
    low, high = np.array(proportion_confint(successes, n, 1 - confidence, method="wilson"))
    return describe_interval(successes / n, low, high, n, "Wilson")


def bootstrap_interval(
    samples: Sequence[np.ndarray],
    statistic: Callable[..., float],
    *,
    paired: bool = True,
    proportion: bool = True,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict:
    """Return a statistic of samples with its BCa bootstrap interval (Efron 1987).

    The first axis of each sample counts photos. `paired` samples are of the same photos and
    resampled together, others independently. If the acceleration is undefined, the interval is
    that of percentiles. If all resamples give the same value, as when every photo is correct, a
    statistic between 0 and 1 (`proportion`) gets the Wilson interval of a proportion, since a
    bootstrap interval would have no width. Returns `value`, `interval`, `n` (photos of all
    unpaired samples together) and `method`.
    """
    value = float(statistic(*samples))
    lengths = [len(sample) for sample in samples]
    n = lengths[0] if paired else sum(lengths)
    indices = [np.arange(length) for length in (lengths[:1] if paired else lengths)]

    def compute(*rows: np.ndarray) -> float:
        rows = rows * len(samples) if paired else rows
        return statistic(*(sample[row] for sample, row in zip(samples, rows, strict=True)))

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        result = bootstrap(
            indices,
            compute,
            method="BCa",
            n_resamples=resamples,
            confidence_level=confidence,
            vectorized=False,
            rng=np.random.default_rng(seed),
        )
    values = result.bootstrap_distribution
    if proportion and np.ptp(values) == 0:
        return wilson_interval(value * n, n, confidence)
    low, high = result.confidence_interval
    if np.isfinite([low, high]).all():
        return describe_interval(value, low, high, n, "BCa bootstrap")
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return describe_interval(value, low, high, n, "percentile bootstrap")


def describe_interval(value: float, low: float, high: float, n: int, method: str) -> dict:
    """Return a figure with its interval as model cards and metrics.json store it."""
    interval = [round(float(end), DIGITS) for end in (low, high)]
    return {"value": round(float(value), DIGITS), "interval": interval, "n": n, "method": method}


def paired_difference_interval(
    only_first: int, only_second: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the difference of two proportions of the same n photos.

    `only_first` photos count for the first proportion only, `only_second` for the second only.
    Adjusted Wald interval by Bonett and Price (2012); its width is never 0.
    """
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    centre = first - second
    margin = float(norm.ppf((1 + confidence) / 2)) * sqrt((first + second - centre**2) / (n + 2))
    return max(-1.0, centre - margin), min(1.0, centre + margin)


def accuracy_row(correct: np.ndarray) -> dict:
    """Return the cells `accuracy`, `low`, `high` (Wilson) and `n` of photos, bool [n]."""
    figure = wilson_interval(int(correct.sum()), len(correct))
    low, high = figure["interval"]
    return {"accuracy": figure["value"], "low": low, "high": high, "n": len(correct)}


def difference_row(correct: np.ndarray, other: np.ndarray) -> dict:
    """Return how two accuracies of the same photos, bool [n], differ, and whether by chance.

    The cells `difference`, `difference_low`, `difference_high` (Bonett-Price) are proportions, `p`
    is that of McNemar's exact test.
    """
    n = len(correct)
    only = int((correct & ~other).sum()), int((other & ~correct).sum())
    low, high = paired_difference_interval(*only, n)
    difference = {"difference": (only[0] - only[1]) / n}
    return difference | {"difference_low": low, "difference_high": high, "p": mcnemar_test(*only)}


def mcnemar_test(only_first: int, only_second: int) -> float:
    """Return the p value of McNemar's exact test (1947) from the two discordant counts."""
    if not only_first + only_second:
        return 1.0
    result: Any = mcnemar([[0, only_first], [only_second, 0]], exact=True)
    return float(result.pvalue)


def adjust_holm(p_values: np.ndarray) -> np.ndarray:
    """Return p values [m] adjusted for m tests (Holm 1979)."""
    return np.asarray(multipletests(p_values, method="holm")[1]) if len(p_values) else p_values
