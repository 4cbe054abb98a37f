"""Find the folder of photos that a recipe names; draw or fetch what can be had without asking."""

import os
import sys
from pathlib import Path

import numpy as np
from fastai.data.external import URLs, untar_data
from PIL import Image, ImageDraw

from birds import drawn
from fieldmark.errors import DatasetError as PhotosError

CUB = "cub-200-2011"


def folder(photos: str) -> Path:
    """Return the folder that a recipe's `photos` names; FIELDMARK_PHOTOS overrides it.

    `drawn` draws six invented species, 40 photos each, into runs/drawn-birds and returns that;
    `cub-200-2011` is where fastai keeps that data set, and fastai fetches it where it isn't there.
    Raises PhotosError where there is no such folder.
    """
    photos = os.environ.get("FIELDMARK_PHOTOS") or photos
    if photos == "drawn":
        return draw(Path("runs/drawn-birds"))
    if photos == CUB:
        return fetched(URLs.CUB_200_2011)
    path = Path(photos).expanduser()
    if not path.is_dir():
        raise PhotosError(
            f"There is no folder {path}. Put the photos there, one folder a species, or set "
            "FIELDMARK_PHOTOS to the folder that holds them."
        )
    return path


def draw(path: Path, count: int = 40) -> Path:
    """Draw `count` photos of every invented species into a folder per species."""
    for label in drawn.SPECIES:
        (path / label).mkdir(parents=True, exist_ok=True)
        for seed in range(1, count + 1):
            (path / label / f"{seed:03}.jpg").write_bytes(
                drawn.encode_photo(drawn.draw_bird(label, seed))
            )
    return path


def draw_things(path: Path = Path("runs/drawn-things"), count: int = 60) -> Path:
    """Draw photos of what is no bird, a few boxes and balls each, into a folder."""
    path.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        chance = np.random.default_rng(seed)
        colours = iter(chance.integers(256, size=(10, 3)).tolist())
        image = Image.new("RGB", (160, 120), tuple(next(colours)))
        pen = ImageDraw.Draw(image)
        for _ in range(chance.integers(2, 9)):
            left, top, width, height = chance.integers((-20, -20, 10, 10), (140, 100, 90, 90))
            draw = (pen.rectangle, pen.ellipse)[chance.integers(2)]
            draw((left, top, left + width, top + height), fill=tuple(next(colours)))
        image.save(path / f"{seed:03}.jpg")
    return path


def fetched(url: str) -> Path:
    """Return the folder of a data set that fastai keeps or fetches.

    Some archives hold one folder of the same name beside a few loose files: then it is that one.
    Raises PhotosError where it isn't kept here and can't be fetched.
    """
    try:
        path = Path(untar_data(url))
    except Exception as error:  # no network, no room, half an archive: each its own kind
        raise PhotosError(
            f"{url} can't be fetched: {error}. Fetch it where there is a network, unpack it, and "
            "set FIELDMARK_PHOTOS to the folder that has images.txt in it."
        ) from error
    inner = path / path.name
    return inner if inner.is_dir() else path


if __name__ == "__main__":
    print(draw(Path(sys.argv[1])))
