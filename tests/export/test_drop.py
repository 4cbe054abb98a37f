"""The drop test measures what a stored model loses, and refuses one that loses too much."""

import numpy as np
import pytest

from export import drop
from fieldmark.errors import GateError
from fieldmark.evaluation.predictions import Predictions, from_probability

N = 400
TRUTH = np.arange(N) % 5


def create(predicted) -> Predictions:
    """Return predictions of these labels with 80 %."""
    probability = np.full((len(predicted), 5), 0.05)
    probability[np.arange(len(predicted)), predicted] = 0.8
    return from_probabilities(probability)


def from_probabilities(probability) -> Predictions:
    paths = [str(number) for number in range(len(probability))]
    return from_probability(probability, 1.0, labels=list("abcde"), paths=paths, truth=TRUTH)


def wrong_for(*photos) -> Predictions:
    predicted = TRUTH.copy()
    predicted[list(photos)] = (predicted[list(photos)] + 1) % 5
    return create(predicted)


def test_unchanged_predictions_have_an_interval_around_no_drop():
    measured = drop.measure_drop(wrong_for(1), wrong_for(1))
    low, high = measured["accuracy_drop"]["interval"]
    assert measured["accuracy_drop"]["value"] == 0
    assert low == -high
    assert 0.5 < high < 1
    assert measured["agreement"]["value"] == 1


def test_lost_and_won_photos_are_counted():
    measured = drop.measure_drop(wrong_for(1, 2), wrong_for(2, 3, 4, 5))
    lost = measured["accuracy_drop"]
    assert (lost["lost"], lost["won"], lost["value"]) == (3, 1, 0.5)
    assert measured["agreement"]["value"] == 1 - 4 / N
    assert measured["accuracy"]["value"] == 1 - 4 / N


def test_half_a_point_may_be_lost_and_one_photo_more_may_not():
    before = wrong_for(0, 1)
    assert drop.check_drop("int8", before, wrong_for(0, 1, 2, 3))
    with pytest.raises(GateError, match=r"0\.75 points .* 400 photos") as caught:
        drop.check_drop("int8", before, wrong_for(0, 1, 2, 3, 4))
    assert "weights_dtype: fp32" in str(caught.value)
    assert list(caught.value.report.index) == ["2", "3", "4"]


@pytest.mark.parametrize(("dtype", "wrong"), [("fp32", 1), ("fp16", 5), ("int8", 13)])
def test_a_file_of_equal_accuracy_with_other_predictions_is_refused(dtype, wrong):
    """As many photos are lost as won, so that accuracy alone shows nothing."""
    photos = range(2 * wrong)
    before, after = wrong_for(*photos[::2]), wrong_for(*photos[1::2])
    assert drop.measure_drop(before, after)["accuracy_drop"]["value"] == 0
    with pytest.raises(GateError, match=dtype):
        drop.check_drop(dtype, before, after)


def test_labels_in_another_order_are_refused():
    with pytest.raises(GateError):
        drop.check_drop("fp16", create(TRUTH), create(4 - TRUTH))


def test_probabilities_that_are_not_finite_are_refused():
    probability = create(TRUTH).probability
    probability[7] = np.nan
    with pytest.raises(GateError, match="not finite"):
        drop.check_drop("int8", create(TRUTH), from_probabilities(probability))


def test_another_prediction_agrees_where_the_network_finds_a_tie():
    network, file = create(TRUTH).probability, create(TRUTH).probability
    network[0, :2], file[0, :2] = (0.42501, 0.42499), (0.42499, 0.42501)
    agreement = drop.measure_drop(from_probabilities(network), from_probabilities(file))
    assert agreement["agreement"]["value"] == 1
    network[0, :2] = 0.43, 0.42
    agreement = drop.measure_drop(from_probabilities(network), from_probabilities(file))
    assert agreement["agreement"]["value"] < 1
