"""Grounds: photos without birds, onto which training photos are pasted."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from birds import photo
from fieldmark.data.ood_photos import list_ood_photos, list_photos_below
from fieldmark.data.parallel import map_threads
from fieldmark.finder.grounds import split_grounds

REFLECTION = "reflection"
MAX_GROUNDS = 1000


def find_grounds(grounds: str, not_birds: str, readable: bool = False) -> list[Path]:
    """Return the photos that a recipe's `grounds` names, none for `reflection`.

    By default they are the half of `not_birds` that a finder may train on; the other half measures
    how well the model rejects what is no bird. With `readable` each photo is decoded, and those
    that cannot be are reported and left out. Raises DatasetError if there are too few.
    """
    if grounds == REFLECTION:
        return []
    if grounds:
        return list_photos_below(grounds, readable)
    kinds = list_ood_photos(not_birds, readable)
    return [path for paths in kinds.values() for path in split_grounds(paths)[0]]


def load_grounds(paths: list[Path], size: int) -> torch.Tensor | None:
    """Return the middle squares of photos, uint8 [G, 3, size, size], None if there are none.

    Of more than MAX_GROUNDS as many are taken, evenly.
    """
    if not paths:
        return None
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), MAX_GROUNDS)).round().astype(int)
    files = [paths[number] for number in chosen]
    pixels = map_threads(partial(load_square, size=size), files)
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def load_square(file: Path, size: int) -> np.ndarray:
    """Return the middle square of a photo, uint8 [size, size, 3]."""
    return photo.prepare(file.read_bytes(), size)


def held_out_grounds(not_birds: str) -> list[Path]:
    """Return photos without birds that no training uses: a half of `not_birds`, or drawn ones."""
    kinds = list_ood_photos(not_birds or "drawn")
    return [path for paths in kinds.values() for path in split_grounds(paths)[1]]
