"""Turn the bytes of a photo into the pixels that the models see; no other code does."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from .crops import centre_square, square_around
from .decoding import (
    FORMATS,
    SUFFIXES,
    SWAPPED,
    TRANSPOSITIONS,
    apply_orientation,
    convert_to_bytes,
    convert_to_rgb,
    decode_photo,
    detect_formats,
    is_plain_jpeg,
    open_photo,
    read_orientation,
    reduce_to_rgb,
    reducing_factor,
    turn,
)
from .photo_limits import (
    DAMAGED,
    MAX_BYTES,
    MAX_PIXELS,
    NEEDS_MEMORY,
    TOO_SLOW,
    CropOutsidePhoto,
    DamagedPhoto,
    EmptyPhoto,
    NotAPhoto,
    PhotoError,
    PhotoNeedsMemory,
    PhotoTooLarge,
    PhotoTooSlow,
    check_bytes,
    check_memory,
    check_pixels,
)

__all__ = [  # with what callers need of the modules that this one is built on
    "DAMAGED",
    "FILTER",
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "NEEDS_MEMORY",
    "SUFFIXES",
    "TOO_SLOW",
    "TRANSPOSITIONS",
    "CropOutsidePhoto",
    "DamagedPhoto",
    "DecodedPhoto",
    "EmptyPhoto",
    "NotAPhoto",
    "PhotoError",
    "PhotoNeedsMemory",
    "PhotoTooLarge",
    "PhotoTooSlow",
    "PreparedPhoto",
    "apply_orientation",
    "centre_square",
    "check_bytes",
    "check_pixels",
    "convert_to_rgb",
    "crop_photo",
    "decode_photo",
    "decode_upright",
    "detect_formats",
    "finder_input",
    "is_plain_jpeg",
    "prepare",
    "prepare_photo",
]
FILTER = "bicubic"  # default for resizing
FINDER_FILTER, REDUCING_GAP = "bilinear", 1.5  # for the finder's input; Pillow explains both
CROP_REDUCING_GAP = 3.0  # the same as without, up to squares of six times the prepared size
FINDER_STRIDE, FINDER_MIN_SIDE = 32, 96  # pixels: sides of the finder's input are multiples of 32
BYTES_OF_COPIES = 10  # a pixel of a reduced photo: an RGB or upright copy, and two arrays of it


class PreparedPhoto(NamedTuple):
    """Pixels, uint8 [size, size, 3], and their source in the upright photo.

    `width` and `height` are those of the whole upright photo; `crop` is left, top, width and height
    in its pixels.
    """

    pixels: np.ndarray
    width: int
    height: int
    crop: tuple[int, int, int, int]


class DecodedPhoto(NamedTuple):
    """A whole upright photo as RGB: `pixels`, uint8 [h, w, 3], may be a reduced copy.

    `width` and `height` are those of the photo. `finder_pixels`, uint8 [H, W, 3], are the input of
    a finder, None without one.
    """

    pixels: np.ndarray
    width: int
    height: int
    finder_pixels: np.ndarray | None = None


def prepare(data: bytes, size: int, filter: str = FILTER) -> np.ndarray:
    """Return the centre square of an upright photo as RGB, uint8 [size, size, 3].

    `filter` names one of Pillow's resampling filters, such as bicubic or bilinear; all antialias.
    Raises PhotoError.
    """
    return prepare_photo(data, size, filter).pixels


def prepare_photo(
    data: bytes,
    size: int,
    filter: str = FILTER,
    crop: tuple[int, int, int, int] | None = None,
) -> PreparedPhoto:
    """Prepare a photo as `prepare` does, and also return its upright size and the crop.

    With `crop` (left, top, width and height in pixels of the upright photo) prepare the square
    around it, as `crop_photo` does. Raises PhotoError, of which CropOutsidePhoto is one.
    """
    if crop:
        decoded = decode_upright(data)
        square = enclosing_square(crop, decoded.width, decoded.height)
        return crop_photo(decoded, square, size, filter)
    image, (width, height) = decode_photo(data, size)
    left, top, side = centre_square(image.width, image.height)
    square = convert_to_bytes(image.crop((left, top, left + side, top + side)))
    resized = square.resize((size, size), Image.Resampling[filter.upper()])
    pixels = np.array(resized.convert("RGB"))
    left, top, side = centre_square(width, height)
    return PreparedPhoto(pixels, width, height, (left, top, side, side))


def enclosing_square(
    crop: tuple[int, int, int, int], width: int, height: int
) -> tuple[int, int, int, int]:
    """Return a crop widened to a square in a photo, as far as the photo's shorter side allows.

    Raises CropOutsidePhoto for a crop that is not all inside.
    """
    left, top, crop_width, crop_height = crop
    inside = left >= 0 and top >= 0 and min(crop_width, crop_height) >= 1
    if not inside or left + crop_width > width or top + crop_height > height:
        raise CropOutsidePhoto(
            f"The crop {','.join(map(str, crop))} is not inside this photo, which has {width} x "
            f"{height} pixels. Send left, top, width and height in pixels of the upright photo."
        )
    left, top, side = square_around(crop, width, height)
    return left, top, side, side


def crop_photo(
    decoded: DecodedPhoto, crop: tuple[int, int, int, int], size: int, filter: str = FILTER
) -> PreparedPhoto:
    """Cut a square out of a decoded photo and resize it to `size`.

    `crop` is left, top, width and height in pixels of the whole upright photo, inside it.
    """
    rows, columns = decoded.pixels.shape[:2]
    left, top, width, height = crop
    x0, x1 = scale_interval(left, width, columns / decoded.width, columns)
    y0, y1 = scale_interval(top, height, rows / decoded.height, rows)
    square = Image.fromarray(np.ascontiguousarray(decoded.pixels[y0:y1, x0:x1]))
    resampling = Image.Resampling[filter.upper()]
    pixels = np.array(square.resize((size, size), resampling, reducing_gap=CROP_REDUCING_GAP))
    return PreparedPhoto(pixels, decoded.width, decoded.height, (left, top, width, height))


def scale_interval(start: int, length: int, scale: float, end: int) -> tuple[int, int]:
    """Return start and end of an interval in a photo scaled to `end` pixels, at least one pixel."""
    scaled = max(1, round(length * scale))
    first = max(0, min(round(start * scale), end - scaled))
    return first, first + scaled


def decode_upright(
    data: bytes, finder_size: int | None = None, finder_filter: str = FINDER_FILTER
) -> DecodedPhoto:
    """Decode a whole photo, reduced to save time and memory, and prepare a finder's input.

    The shorter side keeps at least MIN_SIDE pixels, if the photo has them and MAX_REDUCED allows
    it. A JPEG is decoded at a smaller scale; photos of other formats are averaged over squares of
    pixels. `finder_size` is the longer side of the finder's input. Raises PhotoError.
    """
    with open_photo(data) as image:
        width, height = image.size
        factor = reducing_factor(width, height)
        image.draft(None, (width // factor, height // factor))
        factor = reducing_factor(*image.size)
        copies = BYTES_OF_COPIES * image.width * image.height // factor**2
        check_memory(image, width * height, copies)
        image.load()
        orientation = read_orientation(image)
        upright = turn(reduce_to_rgb(image, factor), orientation)
        if orientation >= SWAPPED:
            width, height = height, width
        finder_pixels = finder_input(upright, finder_size, finder_filter) if finder_size else None
        return DecodedPhoto(np.asarray(upright), width, height, finder_pixels)


def finder_input(image: Image.Image, size: int, filter: str = FINDER_FILTER) -> np.ndarray:
    """Resize an upright RGB image for a finder, uint8 [H, W, 3], with `size` as its longer side.

    Both sides are rounded to multiples of FINDER_STRIDE, so the proportions change by a few per
    cent; the shorter one gets FINDER_MIN_SIDE at least, so very wide photos are stretched.
    """
    scale = size / max(image.size)
    width, height = (
        max(FINDER_MIN_SIDE, FINDER_STRIDE * round(side * scale / FINDER_STRIDE))
        for side in image.size
    )
    resampling = Image.Resampling[filter.upper()]
    return np.asarray(image.resize((width, height), resampling, reducing_gap=REDUCING_GAP))
