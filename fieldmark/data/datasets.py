"""List the photos of a folder as one table, whatever data set lies there.

Columns: `path` (relative to the folder), `label`, `split` (`train` is what may be taught with;
others stay as their data set has them), `source`; for some also `box_x`, `box_y`, `box_width`,
`box_height` (pixels of the file) or `class` (a competition's own name of the label).
"""

from pathlib import Path

import pandas as pd

from fieldmark.data import locations as places
from fieldmark.data.crops import cropped
from fieldmark.data.listings import distinct, listed
from fieldmark.data.locations import PhotosError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
TAUGHT = ("train", "valid", "val", "validation")


def source(recipe: dict) -> tuple[Path, pd.DataFrame]:
    """Return the folder that a recipe's photos lie in, and their table, cropped if it says so."""
    folder = places.folder(recipe["photos"])
    photos = table(folder, recipe.get("test_name", "test"))
    return cropped(photos, folder) if recipe.get("crop_to_box") else (folder, photos)


def table(folder: Path, test_name: str = "test") -> pd.DataFrame:
    """List the photos of a folder; what it holds says which data set it is.

    `test_name` is what the split of a folder `test` is called, such as hand-picked.
    Raises PhotosError where nothing fits, a listed photo is missing, or there is nothing to tell
    apart.
    """
    if (folder / "images.txt").is_file():
        photos = listed(folder)
    elif (folder / "names.txt").is_file() and (folder / "train").is_dir():
        photos = competition(folder)
    elif (folder / "train").is_dir():
        photos = parted(folder, test_name)
    else:
        photos = per_class(folder)
    taught = set(photos["label"][photos["split"] == "train"])
    if len(taught) < 2:
        raise PhotosError(
            f"{folder} needs at least two folders with photos in them, one a species; or folders "
            "train and test with such folders in them; or images.txt, as CUB-200-2011 has it. "
            "FIELDMARK_PHOTOS can say which folder is meant."
        )
    untaught = sorted(set(photos["label"].dropna()) - taught)
    if untaught:
        raise PhotosError(
            f"{folder} has photos to judge by of what no photo teaches: {', '.join(untaught)}. "
            "Is a folder's name misspelt? Rename it or take it away."
        )
    return photos


def per_class(folder: Path, part: str = "") -> pd.DataFrame:
    """List a folder per class, or those in a part of it; a label is a folder's name with spaces."""
    files = sorted(f for f in (folder / part).glob("*/*") if f.suffix.lower() in SUFFIXES)
    return pd.DataFrame(
        {
            "path": [f.relative_to(folder).as_posix() for f in files],
            "label": [f.parent.name.replace("_", " ") for f in files],
            "split": "train",
            "source": "folder per class",
        }
    )


def parted(folder: Path, test_name: str) -> pd.DataFrame:
    """List folders train, valid and test with a folder per class in each, as BIRDS 400 has them.

    Train and valid are one, to be split anew; test stays apart, under the name that it is given.
    """
    taught = [per_class(folder, name) for name in TAUGHT]
    found = [*taught, per_class(folder, "test").assign(split=test_name)]
    return pd.concat(found, ignore_index=True).assign(source="train and test folders")


def competition(folder: Path) -> pd.DataFrame:
    """List a competition: class folders in `train`, `test` without labels, names in names.txt.

    Line n of names.txt names the folder n, counted from 0, or from 1 where that fits; a folder
    that is no number keeps its own name. `class` is the folder's name.
    """
    taught = parted(folder, "unlabelled").query("split == 'train'")
    classes = taught["path"].str.split("/").str[1]
    names = pd.Series((folder / "names.txt").read_text(encoding="utf-8").strip().splitlines())
    numbers = pd.to_numeric(classes, errors="coerce")
    if numbers.notna().all() and len(numbers):
        if numbers.min() > 0 and numbers.max() == len(names):
            numbers -= 1
        if numbers.max() >= len(names):
            raise PhotosError(
                f"{folder}/names.txt has {len(names)} lines, too few to name the class folder "
                f"{classes[numbers.idxmax()]}."
            )
        taught = taught.assign(label=numbers.map(distinct(names.str.strip())))
    unlabelled = [f for f in (folder / "test").rglob("*") if f.suffix.lower() in SUFFIXES]
    asked = pd.DataFrame({"path": sorted(f.relative_to(folder).as_posix() for f in unlabelled)})
    both = [taught.assign(**{"class": classes}), asked.assign(split="unlabelled")]
    return pd.concat(both, ignore_index=True).assign(source="competition")
