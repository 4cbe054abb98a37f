"""Paste photos of birds onto photos without birds, which gives exact boxes at no cost."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from PIL import Image

Edge = Literal["hard", "feathered", "ellipse"]
EDGES: tuple[Edge, ...] = get_args(Edge)
FEATHER = 0.1  # of the shorter side: the width of a feathered edge
FADE = 0.35  # of the radius: the width over which an ellipse fades


class Place(NamedTuple):
    """The rectangle that a photo is pasted into, in pixels of the ground."""

    left: int
    top: int
    width: int
    height: int

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def paste(ground: Image.Image, bird: Image.Image, place: Place, edge: Edge) -> Image.Image:
    """Return a copy of `ground` with `bird` resized into a place.

    A `feathered` edge fades into the ground over a tenth of the shorter side. An `ellipse` fades
    inside the place, and so cuts into a bird that fills its photo.
    """
    resized = bird.resize((place.width, place.height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    mask = Image.fromarray(edge_mask(place.width, place.height, edge))
    pasted = ground.copy()
    pasted.paste(resized, (place.left, place.top), mask)
    return pasted


def paste_at_random(
    rng: np.random.Generator,
    ground: Image.Image,
    bird: Image.Image,
    side: float,
    share: float,
    edge: Edge,
) -> tuple[Image.Image, Place]:
    """Resize a ground and paste a photo at a random place of it; return the scene and the place.

    `side` is the length of the ground's shorter side in pixels, and `share` that of the pasted
    photo's longer side, as a part of it.
    """
    scale = side / min(ground.size)
    width, height = (max(1, round(length * scale)) for length in ground.size)
    resized = ground.resize((width, height), Image.Resampling.BICUBIC)
    place = random_place(rng, width, height, share, bird.width / bird.height)
    return paste(resized, bird, place, edge), place


def edge_mask(width: int, height: int, edge: Edge) -> np.ndarray:
    """Return the opacity of a pasted photo, uint8 [height, width]."""
    x = abs((np.arange(width) + 0.5) / width * 2 - 1)  # distance from the middle: 1 at the edge
    y = abs((np.arange(height) + 0.5) / height * 2 - 1)[:, None]
    if edge == "hard":
        opacity = np.ones((height, width))
    elif edge == "feathered":
        to_edge = np.minimum((1 - x) * width, (1 - y) * height) / 2  # pixels
        opacity = to_edge / (FEATHER * min(width, height))
    else:
        opacity = (1 - np.hypot(x, y)) / FADE
    return (255 * opacity.clip(0, 1)).astype(np.uint8)


def random_place(
    rng: np.random.Generator, width: int, height: int, share: float, aspect: float = 1.0
) -> Place:
    """Return a random place inside a ground of `width` x `height` pixels.

    The place's longer side is `share` of the ground's shorter side; `aspect` is its width divided
    by its height.
    """
    longer = share * min(width, height)
    place_width = max(2, round(longer * min(1.0, aspect)))
    place_height = max(2, round(longer * min(1.0, 1 / aspect)))
    left = rng.integers(width - place_width, endpoint=True)
    top = rng.integers(height - place_height, endpoint=True)
    return Place(int(left), int(top), place_width, place_height)
