"""Photos pasted small onto others and cropped again, as a finder with small errors crops them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from birds import drawn
from birds.crops import MARGIN, square_around
from birds.photo import decode_upright
from fieldmark.finder.pasting import EDGES, paste, random_place

SHARES = (0.5, 0.35, 0.25)  # of the pasted photo's longer side in the ground's shorter side
GROUND_SIDE = 500  # pixels of the shorter side of a ground
SIZE_ERROR = 0.2  # standard deviation of the logarithm of a box's size
PLACE_ERROR = 0.08  # standard deviation of its centre, in sides of the box


class PastedCrops(Mapping[str, bytes]):
    """The bytes of a photo for each path and share; place, edge, ground and errors depend on them.

    `table` lists `path`, `original` (the path in `folder`), `share`, `edge`, and the other columns
    of `photos`. Crops are made when they are read.
    """

    def __init__(self, photos: pd.DataFrame, folder: Path, grounds: Sequence[Path]):
        self.folder, self.grounds = folder, grounds
        tables = []
        for share in SHARES:
            paths = [f"{path} at {share}" for path in photos["path"]]
            edges = [EDGES[seeded(path).integers(len(EDGES))] for path in paths]
            columns = {"path": paths, "original": photos["path"], "share": share, "edge": edges}
            tables.append(photos.assign(**columns))
        self.table = pd.concat(tables, ignore_index=True)
        self.rows = self.table.set_index("path").to_dict("index")

    def __getitem__(self, path: str) -> bytes:
        """Return a crop as a JPEG."""
        original, share, edge = (self.rows[path][key] for key in ("original", "share", "edge"))
        rng = seeded(f"{path}, pasted")
        bird = Image.fromarray(decode_upright((self.folder / original).read_bytes()).pixels)
        file = self.grounds[rng.integers(len(self.grounds))]
        ground = Image.fromarray(decode_upright(file.read_bytes()).pixels)
        scale = GROUND_SIDE / min(ground.size)
        ground = ground.resize((round(ground.width * scale), round(ground.height * scale)))
        place = random_place(rng, *ground.size, share, bird.width / bird.height)
        scene = paste(ground, bird, place, edge)
        left, top, side = square_around(disturb(rng, place), *scene.size, MARGIN)
        return drawn.encode_photo(scene.crop((left, top, left + side, top + side)), quality=95)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the paths."""
        return iter(self.table["path"])

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.table)


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


def seeded(text: str) -> np.random.Generator:
    """Return a random generator that depends on a text only."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))
