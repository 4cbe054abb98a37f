"""Find labelled photos, and split them so that what judges the model never trained it."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

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

    Stratified: each class gives each part its share. The same seed gives the same split.
    Raises PhotosError where a class is too small to be in all three parts.
    """
    counts = photos["label"].value_counts()
    if counts.min() < 5:
        few = ", ".join(f"{label} ({n})" for label, n in counts[counts < 5].items())
        raise PhotosError(f"A class needs 5 photos to be trained and judged; too few in: {few}.")
    rest, judged = train_test_split(
        photos.index, test_size=tune + calibrate, stratify=photos["label"], random_state=seed
    )
    tuned, _ = train_test_split(
        judged,
        test_size=calibrate / (tune + calibrate),
        stratify=photos["label"][judged],
        random_state=seed,
    )
    parts = np.select(
        [photos.index.isin(rest), photos.index.isin(tuned)], ["train", "tune"], "calibrate"
    )
    return photos.assign(split=parts)


if __name__ == "__main__":
    print(draw(Path(sys.argv[1])))
