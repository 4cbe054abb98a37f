"""Decode photos once and keep their pixels in one file, from which batches are cut."""

import hashlib
import mmap
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
import torch
from filelock import FileLock
from numpy.lib.format import open_memmap
from PIL import Image

from birds import photo
from fieldmark.data.parallel import map_threads
from fieldmark.disk import check_space, explained, folder_size
from fieldmark.errors import DatasetError, LockedError
from fieldmark.files import atomic_path
from fieldmark.locking import describe_holder, lock_folder

CACHES = Path("runs/cache")
FORMAT_VERSION = 2  # part of a cache's name: increase it when the content of a cache changes
MARGIN = 8 / 7  # a cached photo's side over the network's: random crops lose little detail
BLOCK = 256  # photos after which memory is released
FOREVER = 7 * 24 * 3600  # seconds
NO_CACHE = ", or set `cache: false`, which decodes the photos again in every epoch"


class PixelCache:
    """N photos as uint8 [N, side, side, 3] in a file, each whole and squeezed to a square.

    `aspects` [N], float32, are the photos' widths over their heights; crops use them to undo the
    squeeze. `checksums` [N], uint32, are CRC-32 of both, 0 for a photo that is missing. The files
    are memory-mapped for reading; they are written without, where a full disk is an error that can
    be reported, and not the end of the process.
    """

    def __init__(self, folder: Path, count: int, side: int):
        self.folder, self.side = folder, side
        arrays = {
            "pixels": (np.uint8, (count, side, side, 3)),
            "aspects": (np.float32, (count,)),
            "checksums": (np.uint32, (count,)),
        }
        if not all(is_complete(self.file(name), *array) for name, array in arrays.items()):
            for name, array in reversed(arrays.items()):  # checksums first, all 0
                create_array(self.file(name), *array)
        self.pixels, self.aspects, self.checksums = (open_memmap(self.file(n), "r") for n in arrays)

    def __len__(self) -> int:
        return len(self.checksums)

    def file(self, name: str) -> Path:
        """Return the file of an array."""
        return self.folder / f"{name}.npy"

    def fill(self, files: list[Path], filter: str = photo.FILTER) -> int:
        """Decode the photos that are missing or damaged on the disk, and return their number.

        An interruption costs at most the photos that are being decoded. Raises DatasetError if a
        photo cannot be decoded, and DiskError if the disk is full.
        """
        wrong = self.find_wrong_rows()
        if damaged := int((self.checksums[wrong] > 0).sum()):
            print(f"{damaged} photos in {self.folder} are damaged and are decoded again.")
        for start in range(0, len(wrong), BLOCK):
            rows = wrong[start : start + BLOCK]
            map_threads(partial(self.decode_row, files=files, filter=filter), rows.tolist())
            self.release_memory()
        return len(wrong)

    def find_wrong_rows(self) -> np.ndarray:
        """Return the rows that are missing, or whose content does not have its checksum."""
        starts = range(0, len(self), BLOCK)
        is_right = map_threads(self.compare_checksums, starts)
        return np.flatnonzero(~np.concatenate([np.zeros(0, bool), *is_right]))

    def compare_checksums(self, start: int) -> np.ndarray:
        """Return which rows of a block have the content that their checksums state."""
        stated = self.checksums[start : start + BLOCK]
        found = [self.checksum(start + row) if crc else 1 for row, crc in enumerate(stated)]
        self.release_memory()
        return stated == np.array(found, np.uint32)

    def checksum(self, row: int) -> int:
        """Return the CRC-32 of a row as it is on the disk; 1 in place of 0."""
        return zlib.crc32(self.aspects[row].tobytes(), zlib.crc32(self.pixels[row])) or 1

    def decode_row(self, row: int, files: list[Path], filter: str) -> None:
        """Decode one photo into its row."""
        try:
            image, (width, height) = photo.decode_photo(files[row].read_bytes(), self.side)
        except photo.PhotoError as error:
            raise DatasetError(f"{files[row]} cannot be trained on: {error}") from error
        square, resampling = (self.side, self.side), Image.Resampling[filter.upper()]
        pixels = np.asarray(photo.convert_to_rgb(image).resize(square, resampling))
        self.write_row(row, pixels, width / height)

    def write_row(self, row: int, pixels: np.ndarray, aspect: float) -> None:
        """Write a photo and then its checksum; raises DiskError if the disk is full."""
        values = {"pixels": pixels, "aspects": np.float32(aspect)}
        crc = zlib.crc32(values["aspects"].tobytes(), zlib.crc32(np.ascontiguousarray(pixels)))
        values["checksums"] = np.uint32(crc or 1)
        for name, value in values.items():
            array = getattr(self, name)
            with explained(array.filename, array.nbytes), array.filename.open("r+b") as file:
                file.seek(array.offset + row * array.strides[0])
                file.write(value.tobytes())

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
    they are decoded, so later runs reuse it and an interrupted one is completed. Another process
    that decodes the same photos is waited for. Raises DiskError if the disk is too small.
    """
    paths = photos["path"][photos["split"] == "train"]
    digests, side = survey.set_index("path")["sha256"][paths], cached_side(size)
    content = "\n".join([f"{FORMAT_VERSION} {side} {filter} {PIL.__version__}", *digests])
    cache_folder = caches / hashlib.sha256(content.encode()).hexdigest()[:16]
    lock = wait_for_lock(cache_folder)
    try:
        needed = len(paths) * side**2 * 3 - folder_size(cache_folder)
        check_space(cache_folder, {"the decoded photos": max(0, needed)}, NO_CACHE)
        cache = PixelCache(cache_folder, len(paths), side)
        cache.fill([folder / path for path in paths], filter)
    finally:
        lock.release()
    return cache


def cached_side(size: int) -> int:
    """Return the pixels per side of cached photos, for a network that takes `size` pixels."""
    return round(size * MARGIN)


def wait_for_lock(folder: Path) -> FileLock:
    """Lock a cache, once no other process is filling it."""
    arguments = (folder, "filled", "Wait until it ends.")
    try:
        return lock_folder(*arguments)
    except LockedError:
        print(f"Waiting for {describe_holder(folder)}, which decodes the same photos into {folder}")
        return lock_folder(*arguments, timeout=FOREVER)


def is_complete(file: Path, dtype: type, shape: tuple[int, ...]) -> bool:
    """Return whether a file holds a whole array of this type and shape."""
    try:
        array = open_memmap(file, "r")
    except Exception:  # missing, truncated or damaged
        return False
    return (array.dtype, array.shape) == (dtype, shape)


def create_array(file: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Create an array's file, all zeros."""
    with atomic_path(file) as scratch:
        open_memmap(scratch, "w+", dtype, shape).flush()  # sparse
