"""Look at every photo once before training: whether it can be read, its size, what it shows."""

import hashlib
from pathlib import Path

import imagehash
import pandas as pd
from PIL import ImageStat

from birds import photo
from fieldmark.data.parallel import each

HASH_SIZE = 16  # 256 bits, since by 64 two birds in the same pose are the same photo
PLAIN = 4.0  # grey levels; what varies less has no detail to be known by
LOOK = ["width", "height", "sha256", "hash", "problem"]


def survey(photos: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add `width`, `height` (upright, in pixels), `sha256`, `hash` and `problem` of each photo.

    `hash` is a perceptual hash in hexadecimal digits, and missing for a plain picture. `problem` is
    missing where a photo is readable, and else says why the function could not read it either.
    """
    found = each(look, list(photos["path"]), folder=folder)
    seen = pd.DataFrame(found, columns=LOOK, index=photos.index)
    return photos.assign(**seen.astype({"width": "Int64", "height": "Int64"}))


def look(path: str, folder: Path) -> tuple:
    """Look at one photo: the values of LOOK."""
    try:
        data = (folder / path).read_bytes()
    except OSError as error:
        return None, None, None, None, f"This file can't be opened: {error.strerror}."
    digest = hashlib.sha256(data).hexdigest()
    try:
        image, (width, height) = photo.decode_photo(data, 4 * HASH_SIZE)
    except photo.PhotoError as error:
        return None, None, digest, None, str(error)
    grey = photo.convert_to_rgb(image).convert("L")
    plain = ImageStat.Stat(grey).stddev[0] < PLAIN
    return width, height, digest, None if plain else str(imagehash.phash(grey, HASH_SIZE)), None
