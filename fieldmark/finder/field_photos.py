"""Photos as people take them: each as it is, and with its bird small in other surroundings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from birds import drawn
from fieldmark.finder.pasting import EDGES, Edge, paste_at_random
from fieldmark.finder.photo_versions import (
    PhotoVersions,
    choose_ground,
    decode_image,
    seed_generator,
)
from fieldmark.finder.variation import log_uniform

COPIES = 2  # pasted copies of each photo
SHARES = (0.2, 0.9)  # of a pasted bird's longer side in the ground's shorter side
ENLARGED = 2  # shorter side of a ground, in shorter sides of the photo that is pasted
MAX_GROUND = 1000  # pixels of the shorter side of a ground


class FieldPhotos(PhotoVersions):
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
        super().__init__(pd.concat(tables, ignore_index=True), folder, grounds)

    def __getitem__(self, path: str) -> bytes:
        """Return the bytes of a photo or of a copy; raises KeyError for others."""
        original, share, edge = self.versions[path]
        data = (self.folder / original).read_bytes()
        if edge is None:
            return data
        rng = seed_generator(f"place of {path}")
        return paste_photo(data, choose_ground(rng, self.grounds), share, edge, rng)


def paste_photo(
    bird: bytes, ground: Image.Image, share: float, edge: Edge, rng: np.random.Generator
) -> bytes:
    """Paste a photo at a random place of a ground; return a JPEG.

    The pasted photo's longer side is `share` of the ground's shorter side.
    """
    photo = decode_image(bird)
    side = min(ENLARGED * min(photo.size), MAX_GROUND)
    scene, _ = paste_at_random(rng, ground, photo, side, share, edge)
    return drawn.encode_photo(scene, quality=95)
