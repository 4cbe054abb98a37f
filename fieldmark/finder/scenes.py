"""Random photos to train and evaluate the finder: pasted birds, and whole photos with boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from fieldmark.finder.framing import blur_out, frame_photo, paste_distant
from fieldmark.finder.pasting import EDGES, paste, random_place
from fieldmark.finder.variation import degrade, log_uniform, vary

SHARES = (0.08, 1.0)  # of a pasted bird's longer side in the shorter side of the scene
ASPECTS = (0.55, 1.8)  # width over height of a pasted bird
MIN_BIRD = 10  # pixels of a bird's longer side, below which it has no box
DISTANT = 0.4  # share of whole photos that are shown small on a ground
CLOSE_UP = 0.08  # share of scenes that one bird fills
PASTED_BIRDS = (0.15, 0.6, 0.15, 0.1)  # probabilities of 0 to 3 birds
PASTED_OBJECTS = (0, 3)  # number of other rectangles: at least, and less than
MAX_OVERLAP = 0.1  # share of a pasted bird that another photo may hide
GROUND_SHARE = (0.4, 1.0)  # of a ground's sides that a scene shows


@dataclass(frozen=True)
class Sources:
    """Photos that scenes are made of.

    `birds` are crops that a bird fills, `grounds` photos without birds, `wholes` whole photos with
    the boxes of their birds: left, top, right and bottom in pixels, [n, 4].
    """

    birds: Sequence[Image.Image]
    grounds: Sequence[Image.Image]
    wholes: Sequence[tuple[Image.Image, np.ndarray]] = field(default_factory=list)


def make_scene(
    sources: Sources, rng: np.random.Generator, width: int, height: int, whole_share: float = 0.3
) -> tuple[Image.Image, np.ndarray]:
    """Return a random photo of `width` x `height` pixels, and the boxes of its birds, [n, 4].

    `whole_share` is the share of scenes that show a whole photo, if there are any.
    """
    kind = rng.random()
    if sources.wholes and kind < whole_share:
        photo, boxes = sources.wholes[int(rng.integers(len(sources.wholes)))]
        if rng.random() < DISTANT:
            has_ground = rng.random() < 0.5
            ground = pick(sources.grounds, rng) if has_ground else blur_out(photo, width, height)
            ground = cut_ground(ground, rng, width, height)
            scene, boxes = paste_distant(photo, boxes, rng, ground)
        else:
            scene, boxes = frame_photo(photo, boxes, rng, width, height)
    elif kind > 1 - CLOSE_UP:
        scene = vary(pick(sources.birds, rng), rng).resize((width, height))
        boxes = np.array([(0, 0, width, height)], float)
    else:
        scene, boxes = paste_birds(sources, rng, width, height)
    longer_sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    return degrade(scene, rng), boxes[longer_sides >= MIN_BIRD]


def paste_birds(
    sources: Sources, rng: np.random.Generator, width: int, height: int
) -> tuple[Image.Image, np.ndarray]:
    """Paste birds on a ground, among rectangles of photos without birds; return also the boxes.

    Without those rectangles the network would learn to find pasted edges instead of birds.
    """
    scene = cut_ground(pick(sources.grounds, rng), rng, width, height)
    birds, objects = rng.choice(len(PASTED_BIRDS), p=PASTED_BIRDS), rng.integers(*PASTED_OBJECTS)
    boxes: list[tuple] = []
    for is_bird in rng.permutation([True] * int(birds) + [False] * int(objects)):
        photo = vary(pick(sources.birds if is_bird else sources.grounds, rng), rng)
        share, aspect = log_uniform(rng, *SHARES), log_uniform(rng, *ASPECTS)
        place = random_place(rng, width, height, share, aspect)
        if any(overlap(place.corners, box) > MAX_OVERLAP for box in boxes):
            continue
        scene = paste(scene, photo, place, EDGES[rng.integers(len(EDGES))])
        if is_bird:
            boxes.append(place.corners)
    return scene, np.array(boxes, float).reshape(-1, 4)


def cut_ground(
    ground: Image.Image, rng: np.random.Generator, width: int, height: int
) -> Image.Image:
    """Return a random part of a photo without birds in `width` x `height` pixels."""
    scale = rng.uniform(*GROUND_SHARE) * min(ground.width / width, ground.height / height)
    left = rng.uniform(0, ground.width - scale * width)
    top = rng.uniform(0, ground.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    cut = ground.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return vary(cut, rng)


def pick(photos: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Return a random photo."""
    return photos[int(rng.integers(len(photos)))]


def overlap(first: tuple, second: tuple) -> float:
    """Return the area that two boxes share, as a share of the smaller one."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(0, width) * max(0, height) / smaller
