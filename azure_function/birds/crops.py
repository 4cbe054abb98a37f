"""Propose squares of a photo in which the species model looks for a bird."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

MARGIN = 1.1  # sides of a square, in longer sides of the box that it surrounds
MAX_CROPS = 2  # that the species model may choose from
SIMILAR = 0.7  # share of the best box's score from which another box may be chosen
MAX_BIRDS = 5  # of one photo that are named
LIKELY = 0.6  # share of the best box's score from which another box is named as a bird
SAME = 0.8  # intersection over union above which two squares are the same

Square = tuple[int, int, int]  # left, top and side in pixels


class Box(NamedTuple):
    """A bird that a finder proposes, in pixels of the upright photo; its score is 0 to 1."""

    left: float
    top: float
    width: float
    height: float
    score: float


class Crop(NamedTuple):
    """A square to classify, in pixels of the upright photo, and how it was decided.

    `source` is finder, center (the middle square) or request; `box` is the finder's, else None.
    """

    left: int
    top: int
    width: int
    height: int
    source: str
    box: Box | None = None

    @property
    def square(self) -> tuple[int, int, int, int]:
        """Return left, top, width and height."""
        return self[:4]

    @property
    def score(self) -> float | None:
        """Return the score of the finder's box, None without one."""
        return self.box.score if self.box else None


def centre_square(width: int, height: int) -> Square:
    """Return left, top and side of the largest centred square, in pixels."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


def square_around(box: Sequence[float], width: int, height: int, margin: float = 1) -> Square:
    """Return the square centred on a box, with `margin` times its longer side.

    `box` starts with left, top, width and height. The square is moved into a photo of `width` x
    `height` pixels, and at most as large as its shorter side.
    """
    left, top, box_width, box_height = box[:4]
    side = max(1, min(round(margin * max(box_width, box_height)), width, height))
    x, y = (left + box_width / 2 - side / 2), (top + box_height / 2 - side / 2)
    return min(max(round(x), 0), width - side), min(max(round(y), 0), height - side), side


def propose_crops(boxes: Sequence[Box], width: int, height: int) -> list[Crop]:
    """Return up to MAX_CROPS different squares, the most promising first.

    `boxes` are a finder's, best first. These are the squares around the best box and those that
    score nearly as high. Without boxes it is the middle square alone.
    """
    if not boxes:
        return [centre_crop(width, height)]
    similar = [box for box in boxes if box.score >= SIMILAR * boxes[0].score]
    return distinct(crop_around(box, width, height) for box in similar)[:MAX_CROPS]


def propose_birds(boxes: Sequence[Box], width: int, height: int) -> list[Crop]:
    """Return the squares around up to MAX_BIRDS boxes in different places, best first.

    A box that scores less than LIKELY of the best one is more often no bird.
    """
    likely = [box for box in boxes if box.score >= LIKELY * boxes[0].score]
    return distinct(crop_around(box, width, height) for box in likely)[:MAX_BIRDS]


def crop_around(box: Box, width: int, height: int) -> Crop:
    """Return the crop around a finder's box."""
    left, top, side = square_around(box, width, height, MARGIN)
    return Crop(left, top, side, side, "finder", box)


def centre_crop(width: int, height: int) -> Crop:
    """Return the middle square as a crop."""
    left, top, side = centre_square(width, height)
    return Crop(left, top, side, side, "center")


def distinct(crops: Iterable[Crop]) -> list[Crop]:
    """Return crops without those that are nearly equal to an earlier one."""
    kept: list[Crop] = []
    for crop in crops:
        if all(overlap(crop.square, other.square) <= SAME for other in kept):
            kept.append(crop)
    return kept


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection over union of two boxes: left, top, width and height first."""
    width, height = (
        max(0.0, min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]))
        for i in (0, 1)
    )
    common = width * height
    return common / (one[2] * one[3] + other[2] * other[3] - common)
