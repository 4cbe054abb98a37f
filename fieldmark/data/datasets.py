"""List the photos of a folder as one table, whichever data set it holds.

Columns: `path` (relative to the folder), `label`, `split` (`train` may be split further; other
splits stay as the data set has them), `source`; some data sets add `box_x`, `box_y`, `box_width`,
`box_height` (pixels of the file), `class` (a competition's own name of the label) or `subclass`.
"""

from pathlib import Path

import pandas as pd

from birds import photo
from fieldmark.data.crops import crop_to_boxes
from fieldmark.data.found_birds import crop_to_birds, load_finder
from fieldmark.data.listings import list_annotated_photos, make_unique_labels
from fieldmark.data.locations import find_photo_folder
from fieldmark.data.subclasses import add_subclasses
from fieldmark.errors import DatasetError

TRAIN_FOLDERS = ("train", "valid", "val", "validation")


def load_dataset(
    photos: str, test_name: str = "test", crop: str = "none"
) -> tuple[Path, pd.DataFrame]:
    """Return the folder that a recipe's `photos` names and the table of its photos.

    With `crop` both are those of cropped photos: `boxes` crops to the boxes of the data set, `auto`
    to the first square in which the function would look for a bird.
    """
    folder = find_photo_folder(photos)
    table = list_photos(folder, test_name)
    if crop == "boxes":
        return crop_to_boxes(table, folder)
    return crop_to_birds(table, folder, load_finder()) if crop == "auto" else (folder, table)


def list_photos(folder: Path, test_name: str = "test") -> pd.DataFrame:
    """List the photos of a folder; its content tells which data set it is.

    `test_name` names the split of a folder `test`, such as hand-picked. Raises DatasetError if no
    layout fits, a listed photo is missing, there are fewer than two classes, or a test class has no
    training photos.
    """
    if (folder / "images.txt").is_file():
        photos = list_annotated_photos(folder)
    elif (folder / "names.txt").is_file() and (folder / "train").is_dir():
        photos = list_competition(folder)
    elif (folder / "train").is_dir():
        photos = add_subclasses(list_split_folders(folder, test_name))
    else:
        photos = add_subclasses(list_class_folders(folder))
    train_labels = set(photos["label"][photos["split"] == "train"])
    if len(train_labels) < 2:
        raise DatasetError(
            f"{folder} needs at least two folders with photos, one per species; or folders train "
            "and test with such folders in them; or images.txt, as in CUB-200-2011. Set "
            "FIELDMARK_PHOTOS if another folder is meant."
        )
    missing = sorted(set(photos["label"].dropna()) - train_labels)
    if missing:
        raise DatasetError(
            f"{folder} has test photos but no training photos of: {', '.join(missing)}. Correct "
            "the folder's name if it is misspelt, or remove the folder."
        )
    return photos


def list_class_folders(folder: Path, subfolder: str = "") -> pd.DataFrame:
    """List one folder per class; the label is the folder's name with spaces for underscores."""
    table = pd.DataFrame({"path": find_paths(folder, f"{subfolder}*/*")}, dtype=object)
    labels = table["path"].str.split("/").str[-2].str.replace("_", " ")
    return table.assign(label=labels, split="train", source="folder per class")


def find_paths(folder: Path, pattern: str) -> list[str]:
    """Return the sorted paths, relative to a folder, of the photos that match a pattern."""
    files = sorted(file for file in folder.glob(pattern) if is_photo(file))
    return [file.relative_to(folder).as_posix() for file in files]


def list_split_folders(folder: Path, test_name: str) -> pd.DataFrame:
    """List folders train, valid and test with one folder per class in each, as in BIRDS 400.

    Train and valid are merged, to be split anew; the photos of test get the split `test_name`.
    """
    tables = [list_class_folders(folder, f"{name}/") for name in TRAIN_FOLDERS]
    tables.append(list_class_folders(folder, "test/").assign(split=test_name))
    return pd.concat(tables, ignore_index=True).assign(source="train and test folders")


def list_competition(folder: Path) -> pd.DataFrame:
    """List a competition: class folders in `train`, unlabelled photos in `test`, and names.txt.

    Line n of names.txt is the label of folder n, counted from 0, or from 1 if that fits; a folder
    whose name is not a number is its own label. Column `class` is the folder's name.
    """
    train = list_split_folders(folder, "unlabelled").query("split == 'train'")
    classes = train["path"].str.split("/").str[1]
    names = pd.Series((folder / "names.txt").read_text(encoding="utf-8").strip().splitlines())
    numbers = pd.to_numeric(classes, errors="coerce")
    if numbers.notna().all() and len(numbers):
        if numbers.min() > 0 and numbers.max() == len(names):
            numbers -= 1
        if numbers.max() >= len(names):
            raise DatasetError(
                f"{folder}/names.txt has {len(names)} lines, and no name for class folder "
                f"{classes[numbers.idxmax()]}. Add the missing lines."
            )
        train = train.assign(label=numbers.map(make_unique_labels(names.str.strip())))
    unlabelled = pd.DataFrame({"path": find_paths(folder, "test/**/*"), "split": "unlabelled"})
    tables = [train.assign(**{"class": classes}), unlabelled]
    return pd.concat(tables, ignore_index=True).assign(source="competition")


def is_photo(file: Path) -> bool:
    """Return whether a file's suffix is that of a photo format that can be decoded."""
    return file.suffix.lower() in photo.SUFFIXES


def list_ignored_files(folder: Path, photos: pd.DataFrame) -> pd.DataFrame:
    """Count the files beside the photos of a folder that are not photos, by suffix.

    Folders that hold no photo at all count too, if they lie beside one that does. Columns as in
    `remove_bad_photos`; `path` is the first such file. Hidden files are not counted.
    """
    roots = {(folder / path).parent.parent for path in photos["path"]}
    files = {file for root in roots for file in root.glob("*/[!.]*") if file.is_file()}
    paths: dict[str, list[str]] = {}
    for file in sorted(file for file in files if not is_photo(file)):
        suffix = file.suffix.lower() or "no suffix"
        paths.setdefault(suffix, []).append(file.relative_to(folder).as_posix())
    problems = [f"not photos ({suffix}): {len(group)}" for suffix, group in paths.items()]
    columns = {"path": [group[0] for group in paths.values()], "problem": problems}
    return pd.DataFrame(columns, dtype=object).assign(action="ignored")
