"""Versions of photos: their bytes are made when they are read, and depend on their path only."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from birds.photo import decode_upright

DRAWN_GROUND = 480, 360  # pixels of a ground that is drawn


class PhotoVersions(Mapping[str, bytes]):
    """The bytes of versions of photos by path; subclasses make them.

    `table` lists them with their `path`, the `original` path in `folder`, and the `share` and
    `edge` with which they are pasted on one of the `grounds`.
    """

    def __init__(self, table: pd.DataFrame, folder: Path, grounds: Sequence[Path]):
        self.table, self.folder, self.grounds = table, folder, list(grounds)
        columns = (table[name] for name in ("original", "share", "edge"))
        self.versions = dict(zip(table["path"], zip(*columns, strict=True), strict=True))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the paths."""
        return iter(self.table["path"])

    def __len__(self) -> int:
        """Return the number of versions."""
        return len(self.table)


def seed_generator(text: str) -> np.random.Generator:
    """Return a random generator that depends on a text only."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))


def choose_ground(rng: np.random.Generator, grounds: Sequence[Path]) -> Image.Image:
    """Return a random one of some photos without birds, or a drawn ground if there are none."""
    if not grounds:
        return draw_ground(rng)
    return decode_image(grounds[rng.integers(len(grounds))].read_bytes())


def draw_ground(rng: np.random.Generator) -> Image.Image:
    """Draw a ground: soft patches of random colours, with grain."""
    patches = Image.fromarray(rng.integers(40, 220, (6, 8, 3), np.uint8))
    soft = np.asarray(patches.resize(DRAWN_GROUND, Image.Resampling.BICUBIC), np.int16)
    return Image.fromarray((soft + rng.integers(-12, 13, soft.shape)).clip(0, 255).astype(np.uint8))


def decode_image(data: bytes) -> Image.Image:
    """Decode a photo upright, in RGB."""
    return Image.fromarray(decode_upright(data).pixels)
