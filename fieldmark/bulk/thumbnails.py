"""Small JPEGs of photos of results, to embed in pages."""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from birds.photo import DecodedPhoto, PhotoError, crop_photo, decode_upright
from fieldmark.bulk.results import Results
from fieldmark.bulk.sources import read_bytes
from fieldmark.errors import UserError

QUALITY = 78


class Thumbnails(NamedTuple):
    """Data URLs of what was classified and of the whole photo; or else why there are none."""

    crop: str = ""
    whole: str = ""
    error: str = ""


def make_thumbnails(
    results: Results, path: str, crop: list[int] | None, crop_side: int, whole_side: int = 0
) -> Thumbnails:
    """Return a photo's crop, and with `whole_side` the whole photo, sides in pixels.

    `crop` is left, top, width and height in pixels of the upright photo, None for all of it.
    """
    try:
        decoded = decode_upright(read_bytes(results.locate(path)))
    except (PhotoError, UserError) as error:
        return Thumbnails(error=str(error))
    except FileNotFoundError:
        return Thumbnails(error="This photo is no longer where it was.")
    except OSError as error:
        return Thumbnails(error=f"This photo cannot be read: {error.strerror or error}.")
    whole = encode(decoded.pixels, whole_side) if whole_side else ""
    return Thumbnails(cut_out(decoded, crop, crop_side), whole)


def cut_out(decoded: DecodedPhoto, crop: list[int] | None, side: int) -> str:
    """Return the data URL of a crop; of the whole photo if the crop is not in it (any more)."""
    if crop:
        left, top, width, height = crop
        inside = left + width <= decoded.width and top + height <= decoded.height
        if inside and min(left, top) >= 0 and min(width, height) > 0:
            return encode(crop_photo(decoded, (left, top, width, height), side).pixels, side)
    return encode(decoded.pixels, side)


def encode(pixels: np.ndarray, side: int) -> str:
    """Return the data URL of a JPEG whose longer side is `side` pixels at most."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
