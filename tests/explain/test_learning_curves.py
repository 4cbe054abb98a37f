"""Learning curves of a probe, their extrapolation, and what more photos would bring."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls

from fieldmark.explain.photos import curve_validation, extrapolation, gains, network_accuracy
from fieldmark.explain.photos.curve_plots import plot_gains, plot_learning_curves
from fieldmark.explain.photos.groups import choose_groups
from fieldmark.explain.photos.learning_curves import (
    LearningCurves,
    measure_learning_curves,
    resample_photos,
)
from fieldmark.explain.pretrained import compute_pretrained_features

PHOTOS = np.array([2.0, 3, 4, 6, 8, 12, 16, 20, 24])
SPECIES, EACH = 40, 30


@pytest.fixture(scope="module")
def simulated():
    """Return curves of species whose errors are known power laws a + b n^-0.7, and their b."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 0.1, SPECIES), rng.uniform(0.3, 0.9, SPECIES)
    truth = np.repeat(np.arange(SPECIES), EACH)
    error = a + b * PHOTOS[:, None] ** -0.7
    difficulty = rng.random(len(truth))  # the same photos are wrong at every point
    luck = rng.normal(0, 0.05, (3, len(PHOTOS), len(truth)))
    correct = difficulty + luck > error[:, truth]
    used = np.repeat(PHOTOS[:, None], SPECIES, 1)
    rows = np.arange(len(truth))
    return LearningCurves(PHOTOS, used, correct, rows, truth, rows, np.bincount(truth)), b


def test_a_power_law_is_recovered_and_is_the_best_of_non_negative_ones():
    exact = extrapolation.fit_power_law(PHOTOS, (0.05 + 0.6 * PHOTOS**-0.5)[None])
    assert [exact.a[0], exact.b[0], exact.c[0]] == pytest.approx([0.05, 0.6, 0.5])
    rng = np.random.default_rng(1)
    error = (0.4 * PHOTOS**-0.8 + rng.normal(0, 0.05, (20, 9))).clip(0, 1)
    law = extrapolation.fit_power_law(PHOTOS, error, np.array([0.5]))
    mean = error.mean(0).clip(0.01, 0.99)
    scale = 1 / np.sqrt(mean * (1 - mean))
    design = np.column_stack([np.ones(9), PHOTOS**-0.5]) * scale[:, None]
    expected = np.array([nnls(design, row * scale)[0] for row in error])
    np.testing.assert_allclose(np.column_stack([law.a, law.b]), expected, atol=1e-9)
    assert (expected[:, 0] == 0).any()


def test_resampled_accuracies_vary_as_much_as_those_of_independent_photos(simulated):
    curves, _ = simulated
    weights = curves.resample()
    for label in (0, 7):
        assert (weights[:, curves.truth == label].sum(1) == EACH).all()
    right = curves.accuracy[-1, curves.truth == 3]
    spread = curves.of_group(np.array([3]), weights)[:, -1].std()
    assert spread == pytest.approx(right.std() / np.sqrt(EACH), rel=0.1)


def test_near_duplicates_are_resampled_together_and_count_as_one_photo():
    right = np.repeat(np.arange(20) % 2, 2)
    truth, pairs = np.zeros(40, int), np.repeat(np.arange(20), 2)
    weights = resample_photos(truth, pairs)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights.sum(1) == 40).all()
    spread = (weights @ right / 40).std()
    assert spread == pytest.approx(0.5 / np.sqrt(20), rel=0.1)


def test_intervals_cover_the_gains_of_simulated_species(simulated):
    curves, b = simulated
    names = [f"species {number}" for number in range(SPECIES)]
    families = np.array([""] * SPECIES, object)
    validation = curve_validation.validate(curves, names, families)
    assert validation
    assert validation.factor >= 1
    assert validation.covered_widened / SPECIES >= 0.9
    assert abs(validation.bias) < 0.02
    groups = choose_groups(curves, names, families)
    table = gains.tabulate_gains(curves, groups, validation.factor)
    true = pd.Series(b * (24**-0.7 - 44**-0.7), names)[table["group"]].to_numpy()
    inside = (table["gain_low"] <= true) & (true <= table["gain_high"])
    assert inside.mean() >= 0.95
    assert table["gain"].is_monotonic_decreasing
    assert "20 more photos of species " in gains.describe_gains(table)


def test_gains_are_predicted_for_twice_as_many_photos_at_most(simulated):
    curves, _ = simulated
    few = replace(curves, sizes=PHOTOS[:5], used=curves.used[:5], correct=curves.correct[:, :5])
    groups = {"one": np.array([0]), "all": np.arange(SPECIES)}
    table = gains.tabulate_gains(few, groups)
    assert table["more"].tolist() == [8, 8]
    assert "8 more photos of each species of all" in gains.describe_gains(table)
    assert "What 8 more photos" in plot_gains(table).axes[0].get_title("left")
    line = plot_learning_curves(few, groups, table).axes[0].lines[0]
    assert np.max(line.get_xdata()) == 16
    assert [extrapolation.further_photos(n) for n in (7.9999999, 24.0, 300.0)] == [8, 20, 20]


def test_a_factor_of_species_for_families_and_too_few_groups_for_it_are_said(simulated):
    curves, _ = simulated
    names = [f"species {number}" for number in range(SPECIES)]
    families = np.array(["A", "B"], object)[np.arange(SPECIES) % 2]
    validation = curve_validation.validate(curves, names, families)
    assert validation
    assert (validation.kind, validation.published) == ("species", "families")
    sentence = curve_validation.describe_validation(validation)
    assert "for 40 species" in sentence
    assert "fewer than 19 families" in sentence
    assert "at most" not in sentence
    few = curve_validation.validate(
        curves, names, np.array(["A", "B", ""], object)[np.arange(SPECIES) % 3]
    )
    assert few
    nine = few._replace(groups=few.groups.head(9))
    assert nine.coverage == 0.9
    assert (
        "9 species can promise a coverage of 90 % at most"
        in curve_validation.describe_validation(nine)
    )


def test_the_widening_factor_is_the_conformal_quantile_of_the_other_groups():
    assert extrapolation.widening_factor(np.arange(100) / 10) == 9.5  # the 96th of 100
    assert extrapolation.widening_factor(np.full(30, 0.1)) == 1
    factors = extrapolation.widening_factors(np.arange(20) / 4)
    assert [factors[0], factors[-1]] == pytest.approx([19 / 4, 18 / 4])


def test_each_photo_is_judged_in_each_repeat_by_nested_samples_of_other_photos():
    rng = np.random.default_rng(0)
    truth = np.array([*np.repeat([0, 1, 2], 20), 3])
    features = rng.normal(0, 1, (61, 8)) + 3 * np.eye(4, 8)[truth]
    photos = pd.DataFrame({"path": map(str, range(61)), "label": truth.astype(str)})
    curves = measure_learning_curves(features, photos, truth, folds=4, repeats=2, seed=1)
    assert len(curves.rows) == 60  # one photo of a species cannot be judged by others
    assert curves.sizes.tolist() == [2, 3, 4, 6, 8, 12, np.inf]
    assert curves.correct.shape == (2, 7, 60)
    np.testing.assert_allclose(curves.used[:, :3].T, [[2, 3, 4, 6, 8, 12, 15]] * 3)
    assert 0.6 < curves.accuracy[0].mean() < curves.accuracy[-1].mean()
    assert curves.accuracy[-1].mean() > 0.85
    same = measure_learning_curves(features, photos, truth, folds=4, repeats=2, seed=1)
    assert np.array_equal(curves.correct, same.correct)
    assert np.array_equal(curves.used, same.used)
    assert curves.available.tolist() == [20, 20, 20, 1]
    assert gains.describe_curves(curves) == (
        "60 photos of 3 species judge the probes, in 2 repeats."
    )


def test_of_a_large_run_a_sample_is_measured_that_keeps_rare_species(monkeypatch):
    monkeypatch.setattr("fieldmark.explain.photos.learning_curves.MAX_PHOTOS", 40)
    truth = np.repeat([0, 1, 2], [80, 40, 5])
    features = np.random.default_rng(0).normal(0, 1, (125, 4)) + 3 * np.eye(3, 4)[truth]
    photos = pd.DataFrame({"path": map(str, range(125)), "label": truth.astype(str)})
    curves = measure_learning_curves(features, photos, truth, folds=4, repeats=3)
    assert np.bincount(curves.truth).tolist() == [24, 12, 4]
    assert len(curves.correct) == 1
    assert np.array_equal(truth[curves.rows], curves.truth)
    assert gains.describe_curves(curves) == (
        "40 photos, a sample of 125, of 3 species judge the probes, in one repeat."
    )


def test_drawn_birds_have_curves_and_photos_too_few_for_them_have_a_sentence(explained, weights):
    features = compute_pretrained_features(explained, str(weights))
    truth = explained.predictions.truth
    curves = measure_learning_curves(features, explained.photos, truth, folds=3, repeats=1)
    groups = choose_groups(curves, explained.labels, explained.families)
    table = gains.tabulate_gains(curves, groups)
    assert 0 < table["accuracy"].min() <= 1
    assert "linear probe" in gains.describe_gains(table)
    assert plot_learning_curves(curves, groups, table).axes
    assert plot_gains(table).axes
    few = replace(curves, sizes=curves.sizes[:2], used=curves.used[:2])
    few = replace(few, correct=curves.correct[:, :2])
    nothing = gains.tabulate_gains(few, groups)
    assert "too few" in gains.describe_gains(nothing)
    assert "too few" in curve_validation.describe_validation(
        curve_validation.validate(few, explained.labels, explained.families)
    )
    plot_learning_curves(few, groups, nothing)
    plot_gains(nothing)


def test_the_network_is_judged_only_where_twenty_photos_judge(explained):
    families = np.array(["A", "A", "", "B", "B", "B"], object)
    table = network_accuracy.tabulate_network(explained.predictions, families)
    assert table.set_index("group")["n_test"].to_dict() == {"A": 24, "B": 36}
    assert network_accuracy.tabulate_network(explained.held_out, families).empty
    sentence = network_accuracy.describe_network(explained.predictions, explained.labels, families)
    assert "0 of 6 species and 2 of 2 families" in sentence
