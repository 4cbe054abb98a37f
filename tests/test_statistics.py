"""Intervals and tests agree with published values, formulas and exact enumeration."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm
from sklearn.metrics import roc_auc_score

from fieldmark.statistics import (
    adjust_holm,
    bootstrap_interval,
    mcnemar_test,
    paired_difference_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "n", "interval"),
    [
        (81, 263, [0.2553, 0.3662]),
        (15, 148, [0.0624, 0.1605]),
        (0, 20, [0.0, 0.1611]),
        (1, 29, [0.0061, 0.1718]),
    ],
)
def test_wilson_intervals_are_those_that_newcombe_published(successes, n, interval):
    figure = wilson_interval(successes, n)
    assert figure["interval"] == interval
    assert figure["value"] == pytest.approx(successes / n, abs=1e-4)
    assert figure["n"] == n


def test_the_bootstrap_interval_of_a_mean_is_that_of_the_normal_distribution():
    sample = np.random.default_rng(0).normal(5, 2, 400)
    figure = bootstrap_interval([sample], np.mean, proportion=False)
    margin = norm.ppf(0.975) * sample.std() / 20
    expected = [sample.mean() - margin, sample.mean() + margin]
    assert figure["interval"] == pytest.approx(expected, abs=0.2 * margin)
    assert figure == bootstrap_interval([sample], np.mean, proportion=False)
    assert figure != bootstrap_interval([sample], np.mean, proportion=False, seed=1)


def test_the_bootstrap_interval_of_unpaired_samples_is_that_of_hanley_and_mcneil():
    rng, m, n = np.random.default_rng(0), 150, 120
    negative, positive = rng.normal(0, 1, m), rng.normal(1.2, 1, n)

    def compute_auroc(negative, positive):
        truth = np.r_[np.zeros(len(negative)), np.ones(len(positive))]
        return roc_auc_score(truth, np.r_[negative, positive])

    figure = bootstrap_interval([negative, positive], compute_auroc, paired=False, resamples=400)
    area = compute_auroc(negative, positive)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)
    margin = norm.ppf(0.975) * np.sqrt(variance / (m * n))
    assert figure["interval"] == pytest.approx([area - margin, area + margin], abs=0.25 * margin)
    assert figure["n"] == m + n


def test_paired_samples_are_resampled_together():
    sample = np.arange(50.0)
    figure = bootstrap_interval([sample, sample], lambda a, b: np.abs(a - b).max())
    assert (figure["value"], figure["method"]) == (0, "Wilson")


def test_a_perfect_score_still_has_an_interval():
    correct = np.ones(30)
    figure = bootstrap_interval([correct], np.mean)
    assert figure == wilson_interval(30, 30)
    assert figure["interval"][0] < 0.9
    sizes = bootstrap_interval([correct], np.mean, proportion=False)
    assert sizes["interval"] == [1, 1]  # a mean above 1 is possible: this is no proportion


@pytest.mark.parametrize(("first", "second"), [(1, 7), (0, 5), (9, 1), (12, 12), (0, 0)])
def test_mcnemars_exact_test_is_a_binomial_test_of_discordant_photos(first, second):
    p = mcnemar_test(first, second)
    assert p == pytest.approx(binomtest(first, first + second).pvalue if first + second else 1)
    assert p == mcnemar_test(second, first)


def test_holm_adjusts_as_by_hand():
    assert adjust_holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_holm(np.array([0.6, 0.001, 0.6])) == pytest.approx([1, 0.003, 1])
    assert len(adjust_holm(np.array([]))) == 0


@pytest.mark.parametrize(("first", "second"), [(0.02, 0.02), (0.1, 0.05), (0.3, 0.1)])
def test_bonett_price_intervals_cover_the_true_difference_in_95_percent(first, second):
    """Enumerate all outcomes of 60 photos, the discordant ones by their probability."""
    n, coverage = 60, 0.0
    for discordant in range(n + 1):
        weight = binom.pmf(discordant, n, first + second)
        for only_first in range(discordant + 1 if weight > 1e-9 else 0):
            share = binom.pmf(only_first, discordant, first / (first + second))
            low, high = paired_difference_interval(only_first, discordant - only_first, n)
            coverage += weight * share * (low <= first - second <= high)
    assert 0.935 < coverage <= 1


def test_equal_predictions_still_have_an_interval_of_their_difference():
    low, high = paired_difference_interval(0, 0, 100)
    assert low == -high
    assert 0.02 < high < 0.03
