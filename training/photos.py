"""Find labelled photos, and split them so that what judges the model never trained it."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from birds import drawn

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


class PhotosError(ValueError):
    """Photos that can't be trained on; the text says what to fetch and where to put it."""


def folder(photos: str) -> Path:
    """Return the folder that a recipe's `photos` names; FIELDMARK_PHOTOS overrides it.

    `drawn` draws six invented species, 40 photos each, into runs/drawn-birds and returns that.
    Raises PhotosError where there is no such folder.
    """
    photos = os.environ.get("FIELDMARK_PHOTOS") or photos
    if photos == "drawn":
        return draw(Path("runs/drawn-birds"))
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
            (path / label / f"{seed:03}.jpg").write_bytes(drawn.encoded(drawn.bird(label, seed)))
    return path


def table(path: Path) -> pd.DataFrame:
    """List the photos of a folder per class: `path` relative to it, and `label`.

    A label is its folder's name with underscores as spaces.
    Raises PhotosError where there are fewer than two classes.
    """
    files = sorted(f for f in path.glob("*/*") if f.suffix.lower() in SUFFIXES)
    found = pd.DataFrame(
        {
            "path": [f.relative_to(path).as_posix() for f in files],
            "label": [f.parent.name.replace("_", " ") for f in files],
        }
    )
    if found["label"].nunique() < 2:
        raise PhotosError(f"{path} needs at least two folders with photos in them, one a species.")
    return found


def split(
    photos: pd.DataFrame, tune: float = 0.1, calibrate: float = 0.1, seed: int = 0
) -> pd.DataFrame:
    """Add a column `split`: `train`, `tune` (to choose by) or `calibrate` (to report by).

    Each class gives each part its share, and at least one photo; a seed gives one split.
    Raises PhotosError where a class is too small to be in all three parts.
    """
    if not (tune > 0 and calibrate > 0 and tune + calibrate < 1):
        raise PhotosError(f"Shares of {tune} to tune and {calibrate} to calibrate leave no split.")
    counts = photos["label"].value_counts()
    if counts.min() < 5:
        few = ", ".join(f"{label} ({n})" for label, n in counts[counts < 5].items())
        raise PhotosError(f"A class needs 5 photos to be trained and judged; too few in: {few}.")
    shuffled = photos.sample(frac=1, random_state=seed).groupby("label")
    place, size = shuffled.cumcount(), shuffled["label"].transform("size")
    tuned = (size * tune).round().clip(lower=1)
    calibrated = tuned + (size * calibrate).round().clip(lower=1)
    parts = np.select([place < tuned, place < calibrated], ["tune", "calibrate"], "train")
    return photos.assign(split=pd.Series(parts, place.index))


def described(photos: pd.DataFrame, trained_on: str) -> str:
    """Say how many photos taught the model, and what its owner says of them."""
    taught = photos[photos["split"] == "train"]
    counted = f"{len(taught):,} photos of {taught['label'].nunique()} species"
    return f"{counted}: {trained_on}" if trained_on else counted


if __name__ == "__main__":
    print(draw(Path(sys.argv[1])))
