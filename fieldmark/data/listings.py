"""Read data sets that list their photos in files: CUB-200-2011, and NABirds with its taxonomy."""

from pathlib import Path

import pandas as pd

from fieldmark.data.crops import BOX
from fieldmark.errors import DatasetError

FILES = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt")


def list_annotated_photos(folder: Path) -> pd.DataFrame:
    """List CUB-200-2011, or NABirds, which also has hierarchy.txt.

    Raises DatasetError if a list, an annotation or a listed photo is missing.
    """
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise incomplete(folder, f"has images.txt but lacks {', '.join(missing)}")
    files, classes, labels, in_train = (read_numbered_lines(folder / name) for name in FILES)
    classes = classes.loc[classes.index.isin(labels)]  # NABirds lists orders and families too
    names = make_unique_labels(classes.str.replace(r"^\d+\.", "", regex=True))
    has_taxonomy = (folder / "hierarchy.txt").is_file()
    photos = pd.DataFrame(
        {
            "path": "images/" + files,
            "label": labels.map(names),
            "split": in_train.map({"1": "train", "0": "test"}),
            "source": "NABirds" if has_taxonomy else "CUB-200-2011",
        },
        index=files.index,
    )
    if (folder / "bounding_boxes.txt").is_file():
        boxes = read_numbered_lines(folder / "bounding_boxes.txt").str.split(expand=True)
        photos[BOX] = boxes.astype(float).reindex(photos.index)
    if numbers := photos.index[photos[["label", "split"]].isna().any(axis=1)].to_list():
        raise incomplete(folder, f"has no class or no split for photo {numbers[0]}")
    if absent := [path for path in photos["path"] if not (folder / path).is_file()]:
        what = f"lists {len(absent)} photos that do not exist, such as {absent[0]}"
        raise incomplete(folder, what)
    if has_taxonomy:
        photos = photos.merge(read_taxonomy(folder), on="label", how="left")
    return photos.reset_index(drop=True)


def incomplete(folder: Path, what: str) -> DatasetError:
    """Return the error about an incomplete data set."""
    return DatasetError(f"{folder} {what}. Extract the data set again.")


def read_numbered_lines(file: Path) -> pd.Series:
    """Read lines of a photo's or class's number and a text; return the texts by number."""
    fields = [line.split(maxsplit=1) for line in file.read_text(encoding="utf-8").splitlines()]
    return pd.Series({number: text[0].strip() for number, *text in fields if text}, dtype=str)


def make_unique_labels(names: pd.Series) -> pd.Series:
    """Return names with spaces for underscores; names of several classes get the class's number."""
    names = names.str.replace("_", " ")
    repeated = names.duplicated(keep=False)
    return names.where(~repeated, names + " " + names.index.astype(str))


def read_taxonomy(folder: Path) -> pd.DataFrame:
    """Return the ancestors of each NABirds label as columns.

    `level_1` is below the root, `level_2` below that, and so on. The last ancestor is the label's
    parent; shallower labels have empty cells.
    """
    parents = read_numbered_lines(folder / "hierarchy.txt")
    names = read_numbered_lines(folder / "classes.txt")
    photo_classes = read_numbered_lines(folder / "image_class_labels.txt").unique()
    labels, rows = make_unique_labels(names.loc[names.index.isin(photo_classes)]), []
    for number, label in labels.items():
        ancestors = []
        while (number := parents.get(number)) in parents:
            ancestors.insert(0, names[number])
        rows.append({"label": label} | {f"level_{n}": name for n, name in enumerate(ancestors, 1)})
    return pd.DataFrame(rows)
