"""List photos that show no bird, to measure how well the model rejects them."""

import os
from pathlib import Path

from fieldmark.data.datasets import is_photo
from fieldmark.data.locations import draw_objects
from fieldmark.errors import DatasetError

VARIABLE = "FIELDMARK_NOT_BIRDS"
MIN_OOD_PHOTOS = 20


def list_ood_photos(folder: str) -> dict[str, list[Path]]:
    """List the photos below a recipe's `not_birds`, or FIELDMARK_NOT_BIRDS, by kind.

    Without a folder there are none; `drawn` draws some. Raises DatasetError if there are too few.
    """
    folder = os.environ.get(VARIABLE) or folder
    if not folder:
        return {}
    root = draw_objects() if folder == "drawn" else Path(folder).expanduser()
    photos = sorted(file for file in root.rglob("*") if is_photo(file))
    if len(photos) < MIN_OOD_PHOTOS:
        raise DatasetError(
            f"There are {len(photos)} photos without birds in {root}, and at least "
            f"{MIN_OOD_PHOTOS} are needed. Add some, or set {VARIABLE} to another folder."
        )
    return {"not_birds": photos}
