"""Boxes of a row as shares of the photo's sides."""

from typing import NamedTuple


class RelativeBox(NamedTuple):
    """A box inside a photo: 0 is its left or top side, 1 its right or bottom."""

    left: float
    top: float
    width: float
    height: float


def relative_box(row: dict, left: float, top: float, width: float, height: float) -> RelativeBox:
    """Return a box in pixels of a row's photo as shares of its sides, cut at the sides."""
    x0, x1 = (min(1.0, max(0.0, x / row["width"])) for x in (left, left + width))
    y0, y1 = (min(1.0, max(0.0, y / row["height"])) for y in (top, top + height))
    x0, y0 = round(x0, 5), round(y0, 5)
    return RelativeBox(x0, y0, max(1e-5, round(x1 - x0, 5)), max(1e-5, round(y1 - y0, 5)))


def finder_box(row: dict, box: dict) -> RelativeBox:
    """Return one of a row's `boxes` as shares of the photo's sides."""
    return relative_box(row, box["left"], box["top"], box["width"], box["height"])


def classified_box(row: dict) -> int | None:
    """Return which of a row's `boxes` was classified: the one closest to the centre of the crop.

    None if the finder found nothing, or the middle of the photo was classified.
    """
    if not row["boxes"] or row["crop_from"] != "finder":
        return None
    left, top, width, height = row["crop"]

    def distance(number: int) -> float:
        box = row["boxes"][number]
        dx = box["left"] + box["width"] / 2 - left - width / 2
        dy = box["top"] + box["height"] / 2 - top - height / 2
        return dx**2 + dy**2

    return min(range(len(row["boxes"])), key=distance)
