"""Find the folder of photos that a recipe names; draw or download built-in data sets."""

import io
import os
from pathlib import Path

import numpy as np
from fastdownload import FastDownload
from PIL import Image, ImageDraw

from birds import drawn
from fieldmark.errors import DatasetError
from fieldmark.files import write_bytes

CUB = "cub-200-2011"
CUB_URL = "https://s3.amazonaws.com/fast-ai-imageclas/CUB_200_2011.tgz"


def find_photo_folder(photos: str) -> Path:
    """Return the folder that a recipe's `photos` names; FIELDMARK_PHOTOS overrides it.

    `drawn` draws six invented species, 40 photos each, into runs/drawn-birds. `cub-200-2011` is
    that data set in fastai's folder, downloaded if it is not there. Raises DatasetError if the
    folder does not exist.
    """
    photos = os.environ.get("FIELDMARK_PHOTOS") or photos
    if photos == "drawn":
        return draw_birds(Path("runs/drawn-birds"))
    if photos == CUB:
        return download_dataset(CUB_URL)
    folder = Path(photos).expanduser()
    if not folder.is_dir():
        raise DatasetError(
            f"There is no folder {folder}. Put the photos there, one folder per species, or set "
            "FIELDMARK_PHOTOS to the folder that holds them."
        )
    return folder


def draw_birds(folder: Path, count: int = 40) -> Path:
    """Draw `count` photos of each invented species into a folder per species; return `folder`."""
    for species in drawn.SPECIES:
        for seed in range(1, count + 1):
            file = folder / species / f"{seed:03}.jpg"
            write_changed(file, drawn.encode_photo(drawn.draw_bird(species, seed)))
    return folder


def draw_objects(folder: Path = Path("runs/drawn-objects"), count: int = 60) -> Path:
    """Draw photos without a bird, a few boxes and balls each, into a folder; return the folder."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        colours = iter(rng.integers(256, size=(10, 3)).tolist())
        image = Image.new("RGB", (160, 120), tuple(next(colours)))
        canvas = ImageDraw.Draw(image)
        for _ in range(rng.integers(2, 9)):
            left, top, width, height = rng.integers((-20, -20, 10, 10), (140, 100, 90, 90))
            draw_shape = (canvas.rectangle, canvas.ellipse)[rng.integers(2)]
            draw_shape((left, top, left + width, top + height), fill=tuple(next(colours)))
        encoded = io.BytesIO()
        image.save(encoded, "JPEG")
        write_changed(folder / f"{seed:03}.jpg", encoded.getvalue())
    return folder


def write_changed(file: Path, content: bytes) -> None:
    """Write a file unless it has this content already: another run may be reading it."""
    if not file.is_file() or file.read_bytes() != content:
        write_bytes(file, content)


def download_dataset(url: str) -> Path:
    """Return the folder of a data set in fastai's folder; download and extract it if needed.

    If the archive holds one folder of the same name beside a few loose files, that inner folder is
    returned. Raises DatasetError if the download fails.
    """
    home = os.environ.get("FASTAI_HOME", "~/.fastai")
    try:
        folder = Path(FastDownload(base=home).get(url))
    except Exception as error:  # network, disk and archive errors share no base class
        raise DatasetError(
            f"{url} cannot be downloaded: {error}. Download it on a machine with a network, "
            "extract it, and set FIELDMARK_PHOTOS to the folder that holds images.txt."
        ) from error
    inner = folder / folder.name
    return inner if inner.is_dir() else folder
