"""Read data sets that list their photos in files: CUB-200-2011, and NABirds with its taxonomy."""

from pathlib import Path

import pandas as pd

from fieldmark.data.crops import BOX
from fieldmark.data.locations import PhotosError

LISTS = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt")


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
    if (folder / "hierarchy.txt").is_file():
        photos = photos.merge(taxonomy(folder), on="label", how="left")
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
