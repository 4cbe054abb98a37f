"""Decode photos once and keep their pixels in one file, from which batches are cut."""

import hashlib
import mmap
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
import torch
from numpy.lib.format import open_memmap
from PIL import Image

from birds import photo
from fieldmark.data.parallel import map_threads
from fieldmark.errors import DatasetError
from fieldmark.files import atomic_path

CACHES = Path("runs/cache")
FORMAT_VERSION = 1  # part of a cache's name: increase it when the content of a cache changes
MARGIN = 8 / 7  # a cached photo's side over the network's: random crops lose little detail
BLOCK = 256  # photos after which progress is written to the disk
FREE_BYTES = 2**30  # of a disk, never used


class PixelCache:
    """N photos as uint8 [N, side, side, 3] in a file, each whole and squeezed to a square.

    `aspects` [N], float32, are the photos' widths over their heights; crops use them to undo the
    squeeze. The files are memory-mapped.
    """

    def __init__(self, folder: Path, count: int, side: int):
        self.folder, self.side = folder, side
        arrays = {
            "pixels": (np.uint8, (count, side, side, 3)),
            "aspects": (np.float32, (count,)),
            "done": (bool, (count,)),
        }
        if not all(is_complete(folder / f"{name}.npy", *array) for name, array in arrays.items()):
            for name, array in reversed(arrays.items()):  # `done` first, all False
                create_array(folder / f"{name}.npy", *array)
        self.pixels, self.aspects, self.done = (open_memmap(folder / f"{n}.npy") for n in arrays)

    def __len__(self) -> int:
        return len(self.done)

    def fill(self, files: list[Path], filter: str = photo.FILTER) -> int:
        """Decode the photos that are missing, and return their number.

        A photo is marked done after its pixels are on the disk, so an interruption costs at most
        one block of decoding. Raises DatasetError if a photo cannot be decoded.
        """
        missing = np.flatnonzero(~self.done)
        for start in range(0, len(missing), BLOCK):
            rows = missing[start : start + BLOCK]
            map_threads(partial(self.decode_row, files=files, filter=filter), rows.tolist())
            self.pixels.flush()
            self.aspects.flush()
            self.done[rows] = True
            self.done.flush()
            self.release_memory()
        return len(missing)

    def decode_row(self, row: int, files: list[Path], filter: str) -> None:
        """Decode one photo into its row."""
        try:
            image, (width, height) = photo.decode_photo(files[row].read_bytes(), self.side)
        except photo.PhotoError as error:
            raise DatasetError(f"{files[row]} cannot be trained on: {error}") from error
        square, resampling = (self.side, self.side), Image.Resampling[filter.upper()]
        self.pixels[row] = np.asarray(photo.convert_to_rgb(image).resize(square, resampling))
        self.aspects[row] = width / height

    def read_rows(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return photos, uint8 [n, 3, side, side], and their aspects, float32 [n]."""
        pixels = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2)
        self.release_memory()
        return pixels, torch.from_numpy(self.aspects[rows])

    def release_memory(self) -> None:
        """Drop the mapped pages from this process; the system keeps them in its page cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.pixels._mmap.madvise(mmap.MADV_DONTNEED)  # pyright: ignore


def build_cache(
    photos: pd.DataFrame,
    survey: pd.DataFrame,
    folder: Path,
    size: int,
    filter: str = photo.FILTER,
    caches: Path = CACHES,
) -> PixelCache:
    """Return a complete cache of the photos of `train`, for a network that takes `size` pixels.

    Its folder below `caches` is named by a hash of the photos' bytes, from the survey, and of how
    they are decoded, so later runs reuse it and an interrupted one is completed. Raises
    DatasetError if the disk is too small.
    """
    paths = photos["path"][photos["split"] == "train"]
    digests, side = survey.set_index("path")["sha256"][paths], round(size * MARGIN)
    content = "\n".join([f"{FORMAT_VERSION} {side} {filter} {PIL.__version__}", *digests])
    cache_folder = caches / hashlib.sha256(content.encode()).hexdigest()[:16]
    check_disk_space(cache_folder, len(paths) * side**2 * 3)
    cache = PixelCache(cache_folder, len(paths), side)
    cache.fill([folder / path for path in paths], filter)
    return cache


def check_disk_space(folder: Path, size: int) -> None:
    """Create a cache's folder; raise DatasetError if `size` bytes do not fit on its disk."""
    folder.mkdir(parents=True, exist_ok=True)
    used = sum(file.stat().st_blocks * 512 for file in folder.iterdir())  # files may be sparse
    free = shutil.disk_usage(folder).free
    if size - used > free - FREE_BYTES:
        raise DatasetError(
            f"The decoded photos need {size / 1e9:.1f} GB, and the disk of {folder.parent} has "
            f"{free / 1e9:.1f} GB left. Delete old folders there, or set `cache: false`, which "
            "decodes the photos again in every epoch."
        )


def is_complete(file: Path, dtype: type, shape: tuple[int, ...]) -> bool:
    """Return whether a file holds a whole array of this type and shape."""
    try:
        array = open_memmap(file)
    except (OSError, ValueError):  # missing or truncated
        return False
    return (array.dtype, array.shape) == (dtype, shape)


def create_array(file: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Create an array's file, all zeros."""
    with atomic_path(file) as scratch:
        open_memmap(scratch, "w+", dtype, shape).flush()
