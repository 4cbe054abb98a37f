"""List photos that show no bird, to measure how well the model rejects them."""

import os
from pathlib import Path

import pandas as pd

from fieldmark.data.datasets import is_photo
from fieldmark.data.locations import draw_objects
from fieldmark.data.survey import survey_photos
from fieldmark.errors import DatasetError

VARIABLE = "FIELDMARK_NOT_BIRDS"
MIN_OOD_PHOTOS = 20


def list_ood_photos(folder: str, readable: bool = False) -> dict[str, list[Path]]:
    """List the photos below a recipe's `not_birds`, or FIELDMARK_NOT_BIRDS, by kind.

    Without a folder there are none; `drawn` draws some. With `readable` each photo is decoded, and
    those that cannot be are reported and left out. Raises DatasetError if there are too few.
    """
    folder = os.environ.get(VARIABLE) or folder
    return {"not_birds": list_photos_below(folder, readable)} if folder else {}


def list_photos_below(folder: str, readable: bool = False) -> list[Path]:
    """List the photos without birds below a folder; `drawn` draws some.

    With `readable` each photo is decoded, and those that cannot be are reported and left out.
    Raises DatasetError if there are too few.
    """
    root = draw_objects() if folder == "drawn" else Path(folder).expanduser()
    photos = sorted(file for file in root.rglob("*") if is_photo(file))
    if readable:
        photos = leave_out_unreadable(photos)
    if len(photos) < MIN_OOD_PHOTOS:
        raise DatasetError(
            f"There are {len(photos)} photos without birds in {root}, and at least "
            f"{MIN_OOD_PHOTOS} are needed. Add some, or set {VARIABLE} to another folder."
        )
    return photos


def leave_out_unreadable(photos: list[Path]) -> list[Path]:
    """Return the photos that can be decoded; print what is wrong with the others."""
    survey = survey_photos(pd.DataFrame({"path": map(str, photos)}), Path())
    is_bad = survey["problem"].notna()
    for _, row in survey[is_bad].iterrows():
        print(f"{row['path']} is left out: {row['problem']}")
    return [Path(path) for path in survey["path"][~is_bad]]
