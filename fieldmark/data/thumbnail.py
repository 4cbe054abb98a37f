"""What the survey learns from a photo's pixels, in a worker process that imports little."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageStat

from birds import photo


class Thumbnail(NamedTuple):
    """A photo as uint8 grey levels [side, side], with its upright width and height in pixels.

    `contrast` is the standard deviation of the grey levels before they were reduced.
    """

    pixels: np.ndarray
    width: int
    height: int
    contrast: float


def make_thumbnail(data: bytes, side: int) -> Thumbnail:
    """Decode a photo and squeeze it to a grey square; raises PhotoError."""
    image, (width, height) = photo.decode_photo(data, side)
    grey = photo.convert_to_rgb(image).convert("L")
    pixels = np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS))
    return Thumbnail(pixels, width, height, ImageStat.Stat(grey).stddev[0])
