"""The gate of a precision measures what a file loses, and refuses what loses too much."""

import numpy as np
import pytest

from export import drop
from export.gate import GateError

N = 400
TRUTH = np.arange(N) % 5


def sure(answer, probability=0.8):
    """Return probabilities [n, 5] of somebody who gives these answers."""
    answer = np.asarray(answer)
    said = np.full((len(answer), 5), (1 - probability) / 4, np.float32)
    said[np.arange(len(answer)), answer] = probability
    return said


def wrong_about(*places):
    answer = TRUTH.copy()
    answer[list(places)] = (answer[list(places)] + 1) % 5
    return sure(answer)


def test_the_interval_of_paired_answers_is_the_published_one():
    """The example of ci.prop.ps in the R package statpsych, by the authors of the method."""
    low, high = drop.paired(26, 4, 12 + 4 + 26 + 6)
    assert (low, high) == pytest.approx((0.2548067, 0.6251933), abs=1e-7)


def test_an_unchanged_answer_does_not_make_sure():
    found = drop.drop(wrong_about(1), wrong_about(1), TRUTH)
    assert found["accuracy_drop"]["value"] == 0
    low, high = found["accuracy_drop"]["interval"]
    assert low == -high
    assert 0.5 < high < 1
    assert found["agreement"]["value"] == 1


def test_lost_and_won_answers_are_told_apart():
    found = drop.drop(wrong_about(1, 2), wrong_about(2, 3, 4, 5), TRUTH)
    lost = found["accuracy_drop"]
    assert (lost["lost"], lost["won"], lost["value"]) == (3, 1, 0.5)
    assert found["agreement"]["value"] == 1 - 4 / N
    assert found["accuracy"]["value"] == 1 - 4 / N


def test_half_a_point_may_be_lost_and_one_photo_more_may_not():
    before = wrong_about(0, 1)
    assert drop.check("int8", before, wrong_about(0, 1, 2, 3), TRUTH)
    with pytest.raises(drop.DropError, match=r"0\.75 points fewer of 400 photos") as caught:
        drop.check("int8", before, wrong_about(0, 1, 2, 3, 4), TRUTH)
    assert isinstance(caught.value, GateError)
    assert "No model was written" in str(caught.value)
    assert "`stored: fp32`" in str(caught.value)
    assert list(caught.value.report.index) == [2, 3, 4]


@pytest.mark.parametrize(("precision", "wrong"), [("fp32", 1), ("fp16", 5), ("int8", 13)])
def test_a_file_as_often_right_with_other_answers_is_refused(precision, wrong):
    """As many photos lost as won: accuracy alone would see nothing."""
    places = range(2 * wrong)
    before, after = wrong_about(*places[::2]), wrong_about(*places[1::2])
    assert drop.drop(before, after, TRUTH)["accuracy_drop"]["value"] == 0
    with pytest.raises(drop.DropError, match=f"The {precision} file gives the Learner's"):
        drop.check(precision, before, after, TRUTH)


def test_labels_in_another_order_are_refused():
    with pytest.raises(drop.DropError):
        drop.check("fp16", sure(TRUTH), sure(TRUTH)[:, ::-1], TRUTH)


def test_probabilities_that_are_no_numbers_are_refused():
    file = sure(TRUTH)
    file[7] = np.nan
    with pytest.raises(drop.DropError, match="no numbers"):
        drop.check("int8", sure(TRUTH), file, TRUTH)


def test_another_answer_where_the_learner_sees_a_tie_is_no_other_answer():
    learner, file = sure(TRUTH), sure(TRUTH)
    learner[0, :2], file[0, :2] = (0.40001, 0.4), (0.4, 0.40001)
    assert drop.drop(learner, file, TRUTH)["agreement"]["value"] == 1
    learner[0, 0] = 0.41
    assert drop.drop(learner, file, TRUTH)["agreement"]["value"] < 1
