"""Square patches that cover parts of a photo, and what they are filled with."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

SIDES = (0.25, 0.35, 0.5)  # of a patch, in sides of the photo: 6, 12 and 25 % of its area
BLUR = 0.12  # standard deviation of a blurred photo, in sides: colours stay, marks do not


class Patch(NamedTuple):
    """A square in a photo, in pixels."""

    left: int
    top: int
    side: int

    @property
    def box(self) -> tuple[slice, slice]:
        """Return its rows and columns."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)

    @property
    def centre(self) -> tuple[float, float]:
        """Return its horizontal and its vertical middle, in pixels."""
        return self.left + self.side / 2, self.top + self.side / 2


def list_patches(size: int, sides: Sequence[float] = SIDES) -> list[Patch]:
    """List patches of several sides all over a photo of `size` pixels a side, smallest first.

    Neighbours overlap by half their side or slightly more, so that they reach every edge.
    """
    patches = []
    for share in sorted(sides):
        side = max(1, round(share * size))
        count = ceil((size - side) / (side / 2)) + 1
        places = np.linspace(0, size - side, count).round().astype(int)
        patches += [Patch(int(left), int(top), side) for top in places for left in places]
    return patches


def blur(photo: np.ndarray) -> np.ndarray:
    """Return a photo so blurred that its marks are gone, uint8 [S, S, 3]."""
    radius = BLUR * len(photo)
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))


def average(photo: np.ndarray) -> np.ndarray:
    """Return a photo of the mean colour of a photo, uint8 [S, S, 3]."""
    return np.broadcast_to(photo.mean((0, 1)).round().astype(np.uint8), photo.shape)


FILLS = {"the blurred photo": blur, "its mean colour": average}


def cover(photo: np.ndarray, patches: Sequence[Patch], fill: str) -> np.ndarray:
    """Return copies of a photo, each with one patch covered, uint8 [P, S, S, 3]."""
    filled = FILLS[fill](photo)
    copies = np.repeat(photo[None], len(patches), 0)
    for copy, patch in zip(copies, patches, strict=True):
        copy[patch.box] = filled[patch.box]
    return copies


def average_patches(patches: Sequence[Patch], values: np.ndarray, size: int) -> np.ndarray:
    """Return the mean value of the patches that cover each pixel, [S, S]; `values` are [P]."""
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for patch, value in zip(patches, values, strict=True):
        total[patch.box] += value
        count[patch.box] += 1
    return total / count
