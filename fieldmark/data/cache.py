"""Photos decoded once: their pixels in one file, from which batches are cut without decoding."""

import hashlib
import mmap
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
import torch
from PIL import Image

from birds import photo
from fieldmark.data.locations import PhotosError
from fieldmark.data.parallel import each

HOME = Path("runs/cache")
LAYOUT = 1  # changes with what a cache holds, so that an older one is not taken for it
MARGIN = 8 / 7  # of a cached photo's side over what the network sees: a crop loses little
BLOCK = 256  # photos after which what was decoded counts as done
SPARE = 2**30  # bytes of a disk that are left free


class Cache:
    """N photos as uint8 [N, side, side, 3] in a file; each whole, and squeezed to a square.

    `aspects` [N], float32, are the photos' widths over their heights, by which a crop undoes the
    squeeze. The file is mapped, so that memory holds no more of it than is being read.
    """

    def __init__(self, folder: Path, count: int, side: int):
        self.folder, self.side = folder, side
        shapes = {"pixels": (np.uint8, (count, side, side, 3)), "aspects": (np.float32, (count,))}
        shapes["done"] = (bool, (count,))
        if not all(whole(folder / f"{name}.npy", *shape) for name, shape in shapes.items()):
            for name, shape in reversed(shapes.items()):  # nothing is done before all is there
                made(folder / f"{name}.npy", *shape)
        self.pixels, self.aspects, self.done = (mapped(folder / f"{name}.npy") for name in shapes)

    def __len__(self) -> int:
        return len(self.done)

    def fill(self, files: list[Path], filter: str = photo.FILTER) -> int:
        """Decode the photos that aren't there yet, and return how many those were.

        A photo counts as done once its pixels are on the disk, so an interruption at any moment
        costs the photos of a block and spoils none. Raises PhotosError for one that can't be read.
        """
        missing = np.flatnonzero(~self.done)
        for first in range(0, len(missing), BLOCK):
            rows = missing[first : first + BLOCK]
            each(partial(self.put, files=files, filter=filter), list(rows))
            self.pixels.flush()
            self.aspects.flush()
            self.done[rows] = True
            self.done.flush()
            self.forget()
        return len(missing)

    def put(self, row: int, files: list[Path], filter: str) -> None:
        """Decode one photo into its row."""
        try:
            image, (width, height) = photo.decode_photo(files[row].read_bytes(), self.side)
        except photo.PhotoError as error:
            raise PhotosError(f"{files[row]} can't be learned from: {error}") from error
        squeezed = photo.convert_to_rgb(image).resize(
            (self.side,) * 2, Image.Resampling[filter.upper()]
        )
        self.pixels[row] = np.asarray(squeezed)
        self.aspects[row] = width / height

    def take(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return photos, uint8 [n, 3, side, side], and their aspects, float32 [n]."""
        pixels = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2)
        self.forget()
        return pixels, torch.from_numpy(self.aspects[rows])

    def forget(self) -> None:
        """Let go of what was read of the file, where the system can; it stays in its own cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.pixels._mmap.madvise(mmap.MADV_DONTNEED)


def cached(
    photos: pd.DataFrame,
    survey: pd.DataFrame,
    folder: Path,
    size: int,
    filter: str = photo.FILTER,
    home: Path = HOME,
) -> Cache:
    """Return a complete cache of the photos that train, for a network that sees `size` pixels.

    It lies below `home` under a fingerprint of the photos' bytes, which the survey has read, and of
    how they are decoded; what an interrupted run had decoded is not decoded again. Raises
    PhotosError where the disk is too small.
    """
    paths = photos["path"][photos["split"] == "train"]
    digests, side = survey.set_index("path")["sha256"][paths], round(size * MARGIN)
    place = home / fingerprint(digests, side, filter)
    room(place, len(paths) * side**2 * 3)
    cache = Cache(place, len(paths), side)
    cache.fill([folder / path for path in paths], filter)
    return cache


def fingerprint(digests: Iterable[str], side: int, filter: str) -> str:
    """Name photos and how they are decoded in 16 hexadecimal digits."""
    made = f"{LAYOUT} {side} {filter} {PIL.__version__}"
    return hashlib.sha256("\n".join([made, *digests]).encode()).hexdigest()[:16]


def room(place: Path, size: int) -> None:
    """Make a cache's folder; raise PhotosError where the disk has no room for `size` bytes."""
    place.mkdir(parents=True, exist_ok=True)
    there = sum(file.stat().st_blocks * 512 for file in place.iterdir())  # a file may have holes
    free = shutil.disk_usage(place).free
    if size - there > free - SPARE:
        raise PhotosError(
            f"The decoded photos take {size / 1e9:.1f} GB, and the disk of {place.parent} has "
            f"{free / 1e9:.1f} GB left. Make room (old folders there may go), or set "
            "`cache: false`, which decodes photos in every epoch anew."
        )


def mapped(file: Path) -> np.memmap:
    """Map an array's file to be read and written."""
    return np.lib.format.open_memmap(file, "r+")


def whole(file: Path, kind: type, shape: tuple[int, ...]) -> bool:
    """Tell whether a file holds an array of this kind and shape, to its end."""
    try:
        found = mapped(file)
    except (OSError, ValueError):  # it isn't there, or was cut short
        return False
    return (found.dtype, found.shape) == (kind, shape)


def made(file: Path, kind: type, shape: tuple[int, ...]) -> None:
    """Make an array's file, all zeros; it has its name once it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(".writing")
    np.lib.format.open_memmap(scratch, "w+", kind, shape).flush()
    scratch.replace(file)
