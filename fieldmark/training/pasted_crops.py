"""Photos pasted small onto others and cropped again, as a finder with small errors crops them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from birds import drawn
from birds.crops import MARGIN, square_around
from fieldmark.finder.pasting import EDGES, paste_at_random
from fieldmark.finder.photo_versions import (
    PhotoVersions,
    choose_ground,
    decode_image,
    seed_generator,
)

SHARES = (0.5, 0.35, 0.25)  # of the pasted photo's longer side in the ground's shorter side
GROUND_SIDE = 500  # pixels of the shorter side of a ground
SIZE_ERROR = 0.2  # standard deviation of the logarithm of a box's size
PLACE_ERROR = 0.08  # standard deviation of its centre, in sides of the box


class PastedCrops(PhotoVersions):
    """The bytes of a photo for each path and share; place, edge, ground and errors depend on them.

    `table` lists `path`, `original` (the path in `folder`), `share`, `edge`, and the other columns
    of `photos`. Crops are made when they are read.
    """

    def __init__(self, photos: pd.DataFrame, folder: Path, grounds: Sequence[Path]):
        tables = []
        for share in SHARES:
            paths = [f"{path} at {share}" for path in photos["path"]]
            edges = [EDGES[seed_generator(path).integers(len(EDGES))] for path in paths]
            columns = {"path": paths, "original": photos["path"], "share": share, "edge": edges}
            tables.append(photos.assign(**columns))
        super().__init__(pd.concat(tables, ignore_index=True), folder, grounds)

    def __getitem__(self, path: str) -> bytes:
        """Return a crop as a JPEG."""
        original, share, edge = self.versions[path]
        rng = seed_generator(f"{path}, pasted")
        bird = decode_image((self.folder / original).read_bytes())
        ground = choose_ground(rng, self.grounds)
        scene, place = paste_at_random(rng, ground, bird, GROUND_SIDE, share, edge)
        left, top, side = square_around(disturb(rng, place), *scene.size, MARGIN)
        return drawn.encode_photo(scene.crop((left, top, left + side, top + side)), quality=95)


def disturb(rng: np.random.Generator, box: Sequence[float]) -> tuple[float, float, float, float]:
    """Return a box with random errors of size and place."""
    left, top, width, height = box[:4]
    factor = np.exp(rng.normal(0, SIZE_ERROR))
    x, y = rng.normal(0, PLACE_ERROR, 2) * max(width, height)
    return (
        left + x + width * (1 - factor) / 2,
        top + y + height * (1 - factor) / 2,
        width * factor,
        height * factor,
    )
