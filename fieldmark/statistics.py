"""Confidence intervals and paired tests: one method for each kind of figure, everywhere.

Proportions have Wilson intervals, other figures BCa bootstrap intervals, differences of two
proportions of the same photos Bonett-Price intervals.
"""

import warnings
from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 2000
DIGITS = 4


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> dict:
    """Return a proportion with its Wilson (1927) interval.

    Returns `value` and `interval` between 0 and 1, `n` and `method`.
    """
    low, high = proportion_confint(successes, n, 1 - confidence, method="wilson")
    return describe_interval(successes / n, low, high, n, "Wilson")


def bootstrap_interval(
    samples: Sequence[np.ndarray],
    statistic: Callable[..., float],
    *,
    paired: bool = True,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict:
    """Return a statistic with its BCa bootstrap interval (Efron 1987).

    `samples` are arrays along whose first axis photos are drawn: together if they are `paired`,
    else each for itself, as two groups of photos are. Where the acceleration is not defined the
    interval is that of percentiles. Where no resample differs, as when every photo is right, a
    bootstrap would claim certainty, and a proportion gets its Wilson interval instead. Returns
    `value`, `interval`, `n` (photos of all unpaired samples together) and `method`.
    """
    value = float(statistic(*samples))
    lengths = [len(each) for each in samples]
    n = lengths[0] if paired else sum(lengths)
    if paired:
        indices = (np.arange(n),)

        def measure(rows: np.ndarray) -> float:
            return statistic(*(each[rows] for each in samples))
    else:
        indices = tuple(np.arange(length) for length in lengths)

        def measure(*rows: np.ndarray) -> float:
            return statistic(*(each[row] for each, row in zip(samples, rows, strict=True)))

    options = {
        "n_resamples": resamples,
        "confidence_level": confidence,
        "vectorized": False,
        "rng": np.random.default_rng(seed),
    }
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        result = bootstrap(indices, measure, method="BCa", **options)
    if np.ptp(result.bootstrap_distribution) == 0 and 0 <= value <= 1:
        return wilson_interval(round(value * n), n, confidence)
    low, high = result.confidence_interval
    if np.isfinite([low, high]).all():
        return describe_interval(value, low, high, n, "BCa bootstrap")
    tail = (1 - confidence) / 2
    low, high = np.quantile(result.bootstrap_distribution, [tail, 1 - tail])
    return describe_interval(value, low, high, n, "percentile bootstrap")


def describe_interval(value: float, low: float, high: float, n: int, method: str) -> dict:
    """Return a figure with its interval as model cards and metrics.json store it."""
    interval = [round(float(end), DIGITS) for end in (low, high)]
    return {"value": round(float(value), DIGITS), "interval": interval, "n": n, "method": method}


def paired_difference_interval(
    lost: int, won: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the difference of two proportions of the same n photos.

    `lost` photos count for the first proportion only, `won` for the second only. Adjusted Wald by
    Bonett and Price (2012), which has a width even where both counts are 0.
    """
    first, second = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    middle = first - second
    reach = norm.ppf((1 + confidence) / 2) * sqrt((first + second - middle**2) / (n + 2))
    return max(-1.0, middle - reach), min(1.0, middle + reach)


def mcnemar_test(only_first: int, only_second: int) -> float:
    """Return the p value of McNemar's exact test (1947) from the two discordant counts."""
    if not only_first + only_second:
        return 1.0
    return float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)


def adjust_holm(p_values: np.ndarray) -> np.ndarray:
    """Return p values [m] adjusted for m tests (Holm 1979)."""
    return multipletests(p_values, method="holm")[1] if len(p_values) else p_values
