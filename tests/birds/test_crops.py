"""Where the species model looks: squares inside the photo, few and different."""

import pytest

from birds.crops import Box, centre_square, overlap, propose_birds, propose_crops, square_around


@pytest.mark.parametrize(
    ("box", "margin", "square"),
    [
        ((40, 30, 20, 10), 1, (40, 25, 20)),
        ((40, 30, 20, 10), 1.5, (35, 20, 30)),
        ((0, 0, 20, 20), 1.5, (0, 0, 30)),  # moved into the photo
        ((85, 70, 14, 10), 2, (72, 52, 28)),
        ((10, 0, 90, 20), 1, (15, 0, 80)),  # as large as the photo allows
        ((50, 50, 0.2, 0.2), 1, (50, 50, 1)),
    ],
)
def test_a_square_surrounds_a_box_and_stays_inside_the_photo(box, margin, square):
    assert square_around(box, 100, 80, margin) == square


def test_without_boxes_the_middle_square_is_the_only_proposal():
    assert [crop[:5] for crop in propose_crops([], 100, 80)] == [(10, 0, 80, 80, "center")]


def test_proposals_are_the_best_box_and_one_that_scores_nearly_as_high():
    boxes = [Box(x, 10, 20, 20, 0.9 - x / 1000) for x in (5, 40, 70, 100, 130)]
    crops = propose_crops(boxes, 200, 80)
    assert [(crop.source, crop.box) for crop in crops] == [("finder", box) for box in boxes[:2]]
    assert crops[0].score == boxes[0].score
    assert crops[0].width == 22
    assert propose_crops([boxes[0], boxes[1]._replace(score=0.6)], 200, 80) == crops[:1]
    same = Box(13, 3, 75, 76, 0.89)
    assert len(propose_crops([Box(12, 2, 76, 76, 0.9), same], 100, 80)) == 1
    assert all(overlap(a.square, b.square) < 0.8 for a in crops for b in crops if a is not b)


def test_birds_are_the_boxes_in_different_places():
    boxes = [Box(25 * (n % 7), 10, 20 + n % 2, 20, 0.9) for n in range(14)]
    assert len(propose_birds(boxes, 200, 80)) == 5
    assert len(propose_birds(boxes[:2] * 3, 200, 80)) == 2
    assert len(propose_birds([boxes[0], boxes[1]._replace(score=0.5)], 200, 80)) == 1


def test_the_overlap_is_the_intersection_over_the_union():
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    assert centre_square(100, 81) == (9, 0, 81)
