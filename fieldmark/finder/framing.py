"""Show a whole photo and its boxes nearer, or farther: between mirror images, or on a ground."""

from itertools import product

import numpy as np
from PIL import Image

from fieldmark.finder.pasting import Place, paste
from fieldmark.finder.variation import FLIP, log_uniform

ZOOM = (0.4, 1.5)  # scale of a photo relative to the one at which it covers the scene
DISTANCE = (0.12, 0.6)  # scale of a distant photo relative to the one at which it fits the scene
MIN_VISIBLE = 0.5  # share of a box's area inside the scene


def frame_photo(
    photo: Image.Image, boxes: np.ndarray, rng: np.random.Generator, width: int, height: int
) -> tuple[Image.Image, np.ndarray]:
    """Return a random view of a photo in `width` x `height` pixels, and its boxes [m, 4].

    `boxes` [n, 4] are left, top, right and bottom in pixels of the photo. A view that is larger
    than the photo is filled with mirror images, whose birds have boxes too.
    """
    scale = log_uniform(rng, *ZOOM) * max(width / photo.width, height / photo.height)
    left = rng.uniform(*sorted((0, photo.width - width / scale)))
    top = rng.uniform(*sorted((0, photo.height - height / scale)))
    view = cut_view(photo, scale, left, top, width, height)
    copies = mirror_boxes(boxes, photo.width, photo.height)
    moved = (copies - [left, top, left, top]) * scale
    clipped = moved.clip(0, [width, height, width, height])
    shown = clipped[areas(clipped) > MIN_VISIBLE * areas(moved)]
    if rng.random() < 0.5:
        view = view.transpose(FLIP)
        shown = np.column_stack(
            [width - shown[:, 2], shown[:, 1], width - shown[:, 0], shown[:, 3]]
        )
    return view, shown


def paste_distant(
    photo: Image.Image, boxes: np.ndarray, rng: np.random.Generator, ground: Image.Image
) -> tuple[Image.Image, np.ndarray]:
    """Return a ground with a photo on it, small and with feathered edges, and its boxes [n, 4]."""
    fit = min(ground.width / photo.width, ground.height / photo.height)
    scale = log_uniform(rng, *DISTANCE) * fit
    width, height = (max(2, round(scale * side)) for side in photo.size)
    left = int(rng.integers(0, ground.width - width + 1))
    top = int(rng.integers(0, ground.height - height + 1))
    small = resize(photo, width, height)
    scene = paste(ground, small, Place(left, top, width, height), "feathered")
    return scene, boxes * scale + [left, top, left, top]


def blur_out(photo: Image.Image, width: int, height: int) -> Image.Image:
    """Return a ground of `width` x `height` pixels in the colours of a photo."""
    return photo.resize((8, 8)).resize((width, height), Image.Resampling.BICUBIC)


def cut_view(
    photo: Image.Image, scale: float, left: float, top: float, width: int, height: int
) -> Image.Image:
    """Return the view of a scaled photo from `left`, `top`, which are pixels of the photo.

    Beyond the photo are its mirror images.
    """
    right, bottom = left + width / scale, top + height / scale
    if left >= 0 and top >= 0 and right <= photo.width and bottom <= photo.height:
        return resize(photo, width, height, box=(left, top, right, bottom))
    scaled = resize(photo, max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    x, y = round(left * scale), round(top * scale)
    columns = (max(0, -x), max(0, x + width - scaled.width))
    rows = (max(0, -y), max(0, y + height - scaled.height))
    pixels = np.pad(np.asarray(scaled), (rows, columns, (0, 0)), mode="symmetric")
    x, y = x + columns[0], y + rows[0]
    return Image.fromarray(pixels[y : y + height, x : x + width])


def resize(photo: Image.Image, width: int, height: int, **options) -> Image.Image:
    """Resize a photo, or the `box` of it, quickly where it becomes much smaller."""
    return photo.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0, **options)


def mirror_boxes(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return boxes [n, 4] of a photo, and those in its mirror images around it, [25 n, 4]."""
    copies = []
    for column, row in product(range(-2, 3), repeat=2):
        left, right = mirror_interval(boxes[:, 0], boxes[:, 2], width, column)
        top, bottom = mirror_interval(boxes[:, 1], boxes[:, 3], height, row)
        copies.append(np.column_stack([left, top, right, bottom]))
    return np.concatenate(copies)


def mirror_interval(
    start: np.ndarray, end: np.ndarray, length: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and ends of intervals in the mirror image `number` of a side of a photo.

    Image 0 is the photo itself, 1 the one behind its end, -1 the one before its start.
    """
    if number % 2:
        start, end = length - end, length - start
    return start + number * length, end + number * length


def areas(boxes: np.ndarray) -> np.ndarray:
    """Return the areas [n] of boxes [n, 4]."""
    return (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
