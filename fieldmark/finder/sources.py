"""Find and decode the photos that the finder is trained on, and those held out from it."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from birds import photo
from fieldmark.data.datasets import is_photo, load_dataset
from fieldmark.data.locations import draw_objects
from fieldmark.data.parallel import map_threads
from fieldmark.errors import DatasetError
from fieldmark.finder.grounds import split_grounds
from fieldmark.finder.scenes import Sources
from fieldmark.finder.whole_photos import list_whole_photos
from fieldmark.recipe import FinderRecipe
from fieldmark.run_folder import read_table

NOT_BIRDS_VARIABLE = "FIELDMARK_NOT_BIRDS"
HELD_OUT = 5  # without a split every fifth bird is held out
WHOLES_HELD_OUT = 4  # and every fourth whole photo, in the order of their names
PIXELS = 2  # longest side of a decoded photo, as a multiple of the finder's input


class Division(NamedTuple):
    """Photos for training, and held-out ones for choosing."""

    train: list
    valid: list


def load_sources(recipe: FinderRecipe, boxes: pd.DataFrame, part: int) -> Sources:
    """Return the decoded photos of a part: TRAIN to train on, VALID to choose by.

    `boxes` are those of the whole photos, as `list_whole_photos` needs them. Raises DatasetError
    for a missing folder, and where birds or grounds are too few.
    """
    longest = PIXELS * recipe.size
    birds, grounds, wholes = (
        sample(division[part], recipe.max_photos, recipe.seed)
        for division in list_sources(recipe, boxes).values()
    )
    load = partial(load_photo, longest=longest)
    return Sources(
        [image for image, _ in map_threads(load, birds)],
        [image for image, _ in map_threads(load, grounds)],
        map_threads(partial(load_whole, longest=longest), wholes),
    )


def list_sources(recipe: FinderRecipe, boxes: pd.DataFrame) -> dict[str, Division]:
    """Return the photos of each kind, by the key of the recipe that names them.

    Raises DatasetError for a missing folder, and where birds or grounds are too few.
    """
    kinds = {
        "photos": list_birds(recipe.photos, recipe.split),
        "not_birds": Division(*split_grounds(list_grounds(recipe.not_birds))),
        "whole_photos": divide(list_whole_photos(recipe.whole_photos, boxes), WHOLES_HELD_OUT),
    }
    for key in ("photos", "not_birds"):
        if not all(kinds[key]):
            raise DatasetError(
                f"`{key}` holds too few photos: some are to train on, others to choose by. Add "
                "photos, or set another folder."
            )
    return kinds


def list_birds(photos: str, split: str = "") -> Division:
    """Divide the photos of a recipe's `photos` by the split of a species model, if there is one.

    Its `train` photos train, its `valid` photos are held out, and others are left out.
    """
    folder, table = load_dataset(photos)
    if not split:
        paths = table.loc[table["split"] == "train", "path"]
        return divide([folder / path for path in sorted(paths)], HELD_OUT)
    if not Path(split).is_file():
        raise DatasetError(f"There is no file {split}. Set `split` to the split.csv of a run.")
    parts = read_table(Path(split))
    parts = parts[parts["path"].isin(table["path"])]
    return Division(
        *(
            [folder / path for path in parts.loc[parts["split"] == name, "path"]]
            for name in Division._fields
        )
    )


def list_grounds(folder: str) -> list[Path]:
    """Return the photos without birds of a recipe's `not_birds`, or FIELDMARK_NOT_BIRDS."""
    folder = os.environ.get(NOT_BIRDS_VARIABLE) or folder
    root = draw_objects() if folder == "drawn" else Path(folder).expanduser()
    return sorted(file for file in root.rglob("*") if is_photo(file))


def divide(items: Sequence, every: int) -> Division:
    """Return the items with each `every`th one held out."""
    return Division([item for n, item in enumerate(items) if n % every], list(items[::every]))


def sample(items: Sequence, count: int, seed: int) -> list:
    """Return at most `count` random items, in their order."""
    if len(items) <= count:
        return list(items)
    chosen = np.random.default_rng(seed).choice(len(items), count, replace=False)
    return [items[index] for index in sorted(chosen)]


def load_whole(item: tuple[Path, np.ndarray], longest: int) -> tuple[Image.Image, np.ndarray]:
    """Return a photo and its boxes as corners in pixels of the decoded photo."""
    file, boxes = item
    image, scale = load_photo(file, longest)
    return image, boxes * scale


def load_photo(file: Path, longest: int) -> tuple[Image.Image, float]:
    """Return an upright RGB photo of at most `longest` pixels a side, and its scale.

    Raises DatasetError for a photo that cannot be decoded.
    """
    try:
        image, (width, height) = photo.decode_photo(file.read_bytes(), longest)
    except photo.PhotoError as error:
        raise DatasetError(f"{file}: {error} Or remove it.") from error
    scale = min(1.0, longest / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = photo.convert_to_rgb(image)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image, scale
