"""Bursts made of one photo: it is pasted at several places, or cut at several places."""

from pathlib import Path

import numpy as np
import pandas as pd

from birds import drawn
from fieldmark.finder.field_photos import paste_photo
from fieldmark.finder.pasting import Edge
from fieldmark.finder.photo_versions import (
    PhotoVersions,
    choose_ground,
    decode_image,
    seed_generator,
)
from fieldmark.finder.variation import log_uniform

FRAMES = 5  # of a burst
SHARES = (0.2, 0.9)  # of the bird's photo in the ground's shorter side, one a burst
MOVED = 1.1  # how much larger or smaller a bird may be in one frame than in the burst
WINDOW = 0.85  # of a whole photo's sides that a frame of it shows
SIDE = 1000  # pixels of the shorter side of a whole photo before its frames are cut


class Bursts(PhotoVersions):
    """Frames of bursts by path: one photo pasted at FRAMES places of one ground.

    `photos` are rows of a split table, `folder` holds their paths; grounds are drawn where there
    are none. Ground and size depend on the photo, place and small changes of size on the frame.
    """

    def __init__(self, photos: pd.DataFrame, folder: Path, grounds: list[Path], edge: Edge):
        table = photos.loc[photos.index.repeat(FRAMES)].reset_index(drop=True)
        table = table.assign(original=table["path"], edge=edge)
        table["path"] += [f" (frame {row % FRAMES}, {edge})" for row in range(len(table))]
        shares = [
            log_uniform(seed_generator(original), *SHARES)
            * log_uniform(seed_generator(path), 1 / MOVED, MOVED)
            for original, path in zip(table["original"], table["path"], strict=True)
        ]
        super().__init__(table.assign(share=np.minimum(shares, 1.0)), folder, grounds)

    def __getitem__(self, path: str) -> bytes:
        """Return the bytes of a frame; raises KeyError for others."""
        original, share, edge = self.versions[path]
        ground = choose_ground(seed_generator(f"ground of {original}"), self.grounds)
        data = (self.folder / original).read_bytes()
        return paste_photo(data, ground, share, edge, seed_generator(f"place of {path}"))


class Windows(PhotoVersions):
    """Frames of whole photos by path: windows at FRAMES random places of each."""

    def __init__(self, files: list[Path]):
        paths = [f"{file.as_posix()} (frame {frame})" for file in files for frame in range(FRAMES)]
        originals = [file.as_posix() for file in files for _ in range(FRAMES)]
        table = pd.DataFrame({"path": paths, "original": originals, "label": None, "share": 1.0})
        super().__init__(table.assign(edge=None, split="other"), Path(), [])

    def __getitem__(self, path: str) -> bytes:
        """Return the bytes of a frame; raises KeyError for others."""
        image = decode_image(Path(self.versions[path][0]).read_bytes())
        image.thumbnail((SIDE * max(image.size) // min(image.size), SIDE * 2))
        width, height = (int(WINDOW * length) for length in image.size)
        rng = seed_generator(path)
        left, top = (int(rng.integers(1 + image.size[i] - (width, height)[i])) for i in (0, 1))
        window = image.crop((left, top, left + width, top + height))
        return drawn.encode_photo(np.asarray(window), quality=95)
