"""Decode every photo once before training: is it readable, how large is it, what is its hash."""

import hashlib
from functools import partial
from pathlib import Path

import imagehash
import pandas as pd
from PIL import Image

from birds import photo
from birds.workers.decoder import job_decoder
from fieldmark.data.parallel import map_threads
from fieldmark.data.thumbnail import make_thumbnail

HASH_SIZE = 16  # 256 bits; with 64 bits two birds in the same pose have the same hash
MIN_CONTRAST = 4.0  # standard deviation in grey levels; hashes of plainer pictures mean nothing
COLUMNS = ["width", "height", "sha256", "hash", "problem"]


def survey_photos(photos: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add `width`, `height` (upright, in pixels), `sha256`, `hash` and `problem` of each photo.

    `hash` is a perceptual hash in hexadecimal digits, missing for a plain picture. `problem` is
    missing for a readable photo, else it is the message of `birds.photo`.
    """
    rows = map_threads(partial(survey_photo, folder=folder), list(photos["path"]))
    columns = pd.DataFrame(rows, columns=COLUMNS, index=photos.index)
    return photos.assign(**columns.astype({"width": "Int64", "height": "Int64"}))


def survey_photo(path: str, folder: Path) -> tuple:
    """Return the values of COLUMNS for one photo."""
    try:
        data = (folder / path).read_bytes()
    except OSError as error:
        return None, None, None, None, f"This file cannot be opened: {error.strerror}."
    digest = hashlib.sha256(data).hexdigest()
    try:
        thumbnail = job_decoder().submit(make_thumbnail, data, 4 * HASH_SIZE).result().value
    except photo.PhotoError as error:
        return None, None, digest, None, str(error)
    # phash reduces a photo to a square of this size itself, with the same filter
    phash = imagehash.phash(Image.fromarray(thumbnail.pixels), HASH_SIZE)
    is_plain = thumbnail.contrast < MIN_CONTRAST
    return thumbnail.width, thumbnail.height, digest, None if is_plain else str(phash), None
