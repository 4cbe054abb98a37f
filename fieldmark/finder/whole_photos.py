"""Whole photos of birds and the table of their boxes."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from fieldmark.data.datasets import is_photo
from fieldmark.errors import DatasetError

VARIABLE = "FIELDMARK_WHOLE_PHOTOS"
BOX = ["left", "top", "width", "height"]  # pixels of the upright photo
COLUMNS = ["path", *BOX]


def find_whole_photos(folder: str) -> tuple[Path, list[str]]:
    """Return the folder of a recipe's `whole_photos`, and its photos' paths relative to it.

    FIELDMARK_WHOLE_PHOTOS overrides the folder. Raises DatasetError if it does not exist.
    """
    root = Path(os.environ.get(VARIABLE) or folder).expanduser()
    if not root.is_dir():
        raise DatasetError(
            f"There is no folder {root}. Put whole photos of birds there, set {VARIABLE} to the "
            "folder that holds them, or leave `whole_photos` empty."
        )
    return root, [f.relative_to(root).as_posix() for f in sorted(root.rglob("*")) if is_photo(f)]


def list_whole_photos(folder: str, boxes: pd.DataFrame) -> list[tuple[Path, np.ndarray]]:
    """Return the photos that have boxes, each with its boxes as corners [n, 4].

    A photo without boxes is left out: it may show birds that no box marks.
    """
    if not folder:
        return []
    root, paths = find_whole_photos(folder)
    grouped = {path: rows[BOX].to_numpy(float) for path, rows in boxes.groupby("path")}
    return [(root / path, to_corners(grouped[path])) for path in paths if path in grouped]


def to_corners(boxes: np.ndarray) -> np.ndarray:
    """Return left, top, right and bottom of boxes given by left, top, width and height."""
    return np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def read_boxes(file: Path, folder: str) -> pd.DataFrame:
    """Read a table of boxes: `path`, relative to the folder of whole photos, and the box.

    Raises DatasetError for missing columns, values that are no numbers, empty boxes, and where no
    photo of the folder has a box.
    """
    if not file.is_file():
        raise DatasetError(f"There is no file {file}. `boxes` needs a CSV of {', '.join(COLUMNS)}.")
    table = pd.read_csv(file, dtype={"path": str})
    if missing := [name for name in COLUMNS if name not in table]:
        raise DatasetError(f"{file} has no column `{missing[0]}`; it needs {', '.join(COLUMNS)}.")
    numbers = table[BOX].apply(pd.to_numeric, errors="coerce")
    wrong = numbers.isna().any(axis=1) | (numbers[["width", "height"]] <= 0).any(axis=1)
    if wrong.any():
        raise DatasetError(
            f"{file}: line {int(wrong.to_numpy().argmax()) + 2} has no valid box. Correct it, in "
            "pixels of the upright photo."
        )
    table = table.assign(**numbers)
    _, paths = find_whole_photos(folder)
    if not table["path"].isin(paths).any():
        raise DatasetError(
            f"No path in {file} is a photo in {folder}. Write paths relative to that folder."
        )
    return table
