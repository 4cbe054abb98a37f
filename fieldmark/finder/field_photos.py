"""Photos as people take them: each as it is, and with its bird small in other surroundings."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from birds import drawn
from birds.photo import decode_upright
from fieldmark.finder.pasting import EDGES, Edge, paste, random_place

COPIES = 2  # pasted copies of each photo
SHARES = (0.2, 0.9)  # of a pasted bird's longer side in the ground's shorter side
ENLARGED = 2  # shorter side of a ground, in shorter sides of the photo that is pasted
MAX_GROUND = 1000  # pixels of the shorter side of a ground
DRAWN_GROUND = 480, 360  # pixels of one that is drawn


class FieldPhotos(Mapping[str, bytes]):
    """The bytes of photos by path: those of a folder, and `copies` pasted copies of each.

    `photos` has a column `path`, relative to `folder` or absolute; `grounds` are photos without
    birds, and grounds are drawn where there are none. Copies are made when they are read, with
    place, share, edge and ground drawn at random by the path. `table` lists all as `photos` does,
    with the `original` path, `share` and `edge` of copies (NaN and None for photos as they are) and
    a `weight`: half each for the photo as it is and for its first copy, which has hard edges. The
    others are measured only: their edges fade, and so cut into birds, which photos do not.
    """

    def __init__(
        self,
        photos: pd.DataFrame,
        folder: Path,
        grounds: Sequence[Path] = (),
        copies: int = COPIES,
    ):
        self.folder, self.grounds = folder, list(grounds)
        weight = 0.5 if copies else 1.0
        tables = [photos.assign(original=photos["path"], share=np.nan, edge=None, weight=weight)]
        for number in range(1, copies + 1):
            edges = EDGES[:1] if number == 1 else EDGES[1:]
            copied = tables[0].assign(weight=0.5 if number == 1 else 0.0)
            copied["path"] += f" (pasted {number})"
            generators = [seed_generator(path) for path in copied["path"]]
            copied["share"] = [log_uniform(rng, *SHARES) for rng in generators]
            copied["edge"] = [edges[rng.integers(len(edges))] for rng in generators]
            tables.append(copied)
        self.table = pd.concat(tables, ignore_index=True)
        columns = (self.table[name] for name in ("original", "share", "edge"))
        self.versions = dict(zip(self.table["path"], zip(*columns, strict=True), strict=True))

    def __getitem__(self, path: str) -> bytes:
        """Return the bytes of a photo or of a copy; raises KeyError for others."""
        original, share, edge = self.versions[path]
        data = (self.folder / original).read_bytes()
        if edge is None:
            return data
        rng = seed_generator(f"place of {path}")
        ground = (
            self.grounds[rng.integers(len(self.grounds))].read_bytes() if self.grounds else None
        )
        return paste_photo(data, ground, share, edge, rng)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the paths."""
        return iter(self.table["path"])

    def __len__(self) -> int:
        """Return the number of photos and copies."""
        return len(self.table)


def paste_photo(
    bird: bytes, ground: bytes | None, share: float, edge: Edge, rng: np.random.Generator
) -> bytes:
    """Paste a photo at a random place of another one, or of a drawn ground; return a JPEG.

    The pasted photo's longer side is `share` of the ground's shorter side.
    """
    photo = Image.fromarray(decode_upright(bird).pixels)
    scenery = Image.fromarray(decode_upright(ground).pixels) if ground else draw_ground(rng)
    scale = min(ENLARGED * min(photo.size), MAX_GROUND) / min(scenery.size)
    size = [max(1, round(side * scale)) for side in scenery.size]
    scenery = scenery.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    place = random_place(rng, *scenery.size, share, photo.width / photo.height)
    return drawn.encode_photo(paste(scenery, photo, place, edge), quality=95)


def draw_ground(rng: np.random.Generator) -> Image.Image:
    """Draw a ground: soft patches of random colours, with grain."""
    patches = Image.fromarray(rng.integers(40, 220, (6, 8, 3), np.uint8))
    soft = np.asarray(patches.resize(DRAWN_GROUND, Image.Resampling.BICUBIC), np.int16)
    return Image.fromarray((soft + rng.integers(-12, 13, soft.shape)).clip(0, 255).astype(np.uint8))


def seed_generator(text: str) -> np.random.Generator:
    """Return a random generator that depends on a text only."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a random number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
