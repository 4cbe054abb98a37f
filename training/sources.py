"""List the photos of a folder as one table, whatever data set lies there.

Columns: `path` (relative to the folder), `label`, `split` (`train` is what may be taught with;
others stay as their data set has them), `source`; for some also `box_x`, `box_y`, `box_width`,
`box_height` (pixels of the file) or `class` (a competition's own name of the label).
"""

from pathlib import Path

import pandas as pd

from . import photos as places
from .crop import BOX, cropped
from .photos import PhotosError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
TAUGHT = ("train", "valid", "val", "validation")
LISTS = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt")


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
            "train and test with such folders in them; or images.txt, as CUB-200-2011 has it."
        )
    untaught = sorted(set(photos["label"].dropna()) - taught)
    if untaught:
        raise PhotosError(
            f"{folder} has photos to judge by of what no photo teaches: {', '.join(untaught)}. "
            "Is a folder's name misspelt? Rename it or take it away."
        )
    return photos


def per_class(folder: Path) -> pd.DataFrame:
    """List a folder per class; a label is its folder's name with underscores as spaces."""
    files = sorted(f for f in folder.glob("*/*") if f.suffix.lower() in SUFFIXES)
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
    names = [name for name in (*TAUGHT, "test") if (folder / name).is_dir()]
    found = []
    for name in names:
        part = per_class(folder / name)
        part["path"] = f"{name}/" + part["path"]
        found.append(part.assign(split=test_name if name == "test" else "train"))
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


def listed(folder: Path) -> pd.DataFrame:
    """List a data set that lists its own photos: CUB-200-2011, or NABirds, which has a hierarchy.

    Each line of its files begins with the number of a photo or class.
    Raises PhotosError where a list or a listed photo is missing.
    """
    missing = [name for name in LISTS if not (folder / name).is_file()]
    if missing:
        raise PhotosError(f"{folder} has images.txt, but lacks {', '.join(missing)}. Unpack anew.")
    files, classes, labels, trained = (lines(folder / name) for name in LISTS)
    classes = classes.loc[classes.index.isin(labels)]  # NABirds names orders and families too
    photos = pd.DataFrame(
        {
            "path": "images/" + files,
            "label": labels.map(distinct(classes.str.replace(r"^\d+\.", "", regex=True))),
            "split": trained.map({"1": "train", "0": "test"}),
            "source": "NABirds" if (folder / "hierarchy.txt").is_file() else "CUB-200-2011",
        },
        index=files.index,
    )
    if (folder / "bounding_boxes.txt").is_file():
        boxes = lines(folder / "bounding_boxes.txt").str.split(expand=True).astype(float)
        photos[BOX] = boxes.reindex(photos.index)
    unsaid = photos.index[photos[["label", "split"]].isna().any(axis=1)]
    if len(unsaid):
        raise PhotosError(f"{folder} says no class or split for photo {unsaid[0]}. Unpack it anew.")
    gone = [path for path in photos["path"] if not (folder / path).is_file()]
    if gone:
        raise PhotosError(
            f"{folder} lists {len(gone)} photos that aren't there, like {gone[0]}. Unpack it anew."
        )
    return photos.reset_index(drop=True)


def lines(file: Path) -> pd.Series:
    """Read lines of a number and what is said of it."""
    said = [line.split(maxsplit=1) for line in file.read_text(encoding="utf-8").splitlines()]
    return pd.Series({number: rest[0].strip() for number, *rest in said if rest}, dtype=str)


def distinct(names: pd.Series) -> pd.Series:
    """Write names with spaces, and those that several classes share with the class's number."""
    names = names.str.replace("_", " ")
    shared = names.duplicated(keep=False)
    return names.where(~shared, names + " " + names.index.astype(str))


def taxonomy(folder: Path) -> pd.DataFrame:
    """Return the ancestors of each NABirds label, as `level_1` (below the root), `level_2` ...

    The last ancestor is the label's parent, and what is not as deep has empty cells.
    Raises PhotosError where there is no hierarchy.txt.
    """
    if not (folder / "hierarchy.txt").is_file():
        raise PhotosError(f"{folder} has no hierarchy.txt; NABirds comes with one.")
    parents, names = lines(folder / "hierarchy.txt"), lines(folder / "classes.txt")
    used = lines(folder / "image_class_labels.txt").unique()
    labels, rows = distinct(names.loc[names.index.isin(used)]), []
    for number, label in labels.items():
        above = []
        while (number := parents.get(number)) in parents:
            above.insert(0, names[number])
        rows.append({"label": label} | {f"level_{n}": name for n, name in enumerate(above, 1)})
    return pd.DataFrame(rows)
