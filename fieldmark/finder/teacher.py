"""A detector of someone else's as a teacher of where birds are: YOLOX's boxes on whole photos."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch
from PIL import Image
from torchvision.ops import nms

from fieldmark.data.parallel import map_threads
from fieldmark.errors import WeightsError
from fieldmark.finder.sources import load_photo
from fieldmark.finder.whole_photos import COLUMNS, find_whole_photos, read_boxes
from fieldmark.recipe import FinderRecipe

VARIABLE = "FIELDMARK_FINDER_TEACHER"
INPUT = 416  # pixels of the square input
STRIDES = (8, 16, 32)
GREY = 114  # of the border beside a photo that is not square
BIRD = 14  # among COCO's 80 classes
MIN_SCORE = 0.3  # objectness times class
SAME_BIRD = 0.5  # intersection over union
PART = 0.7  # share of a box inside a larger one, above which it is a part of that bird
TILE = 0.55  # side of a tile, of the photo's shorter side
TILE_STEP = 0.5  # between tiles, of their side
MAX_SHARE_OF_TILE = 0.6  # longer boxes in a tile belong to larger birds, seen better as a whole
MARGIN = 2  # pixels from a tile's edge, within which a box is cut off
LONGEST = 2048  # pixels of a photo's longer side that is searched


class Teacher:
    """A YOLOX detector, an ONNX file, whose output are the boxes of its three strides.

    `photos` are [1, 3, 416, 416], BGR from 0 to 255, with the photo at the top left. The output is
    [1, 3549, 85]: x, y, log width and log height in units of a stride, relative to each cell,
    objectness, and the scores of COCO's classes (Ge et al. 2021). Raises WeightsError for another
    file.
    """

    def __init__(self, path: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # several photos are searched at the same time
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors share no base class
            raise WeightsError(
                f"`teacher`: {path} is no ONNX file that can be loaded. Set it, or {VARIABLE}, to "
                "a YOLOX detector, or give `boxes`."
            ) from error
        self.input = self.session.get_inputs()[0].name
        cells = [np.mgrid[: INPUT // s, : INPUT // s][::-1].reshape(2, -1).T for s in STRIDES]
        self.cells = np.concatenate(cells)
        self.strides = np.repeat(STRIDES, [len(each) for each in cells])[:, None]

    def find(self, photo: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes of birds as corners [n, 4] in pixels of a photo, and their scores [n]."""
        scale = INPUT / max(photo.size)
        width, height = (max(1, round(side * scale)) for side in photo.size)
        pixels = np.full((INPUT, INPUT, 3), GREY, np.float32)
        resized = photo.resize((width, height), Image.Resampling.BILINEAR)
        pixels[:height, :width] = np.asarray(resized)[:, :, ::-1]
        (output,) = self.session.run(None, {self.input: pixels.transpose(2, 0, 1)[None]})
        rows = np.asarray(output)[0]
        score = rows[:, 4] * rows[:, 5 + BIRD]
        kept = score >= MIN_SCORE
        centre = ((rows[:, :2] + self.cells) * self.strides)[kept]
        half = (np.exp(rows[:, 2:4][kept]) * self.strides[kept]) / 2
        return np.concatenate([centre - half, centre + half], 1) / scale, score[kept]

    def find_in_tiles(self, photo: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Find birds in a whole photo and in overlapping tiles of it, where small ones are seen."""
        found = [self.find(photo)]
        for left, top, side in tiles(*photo.size):
            boxes, scores = self.find(photo.crop((left, top, left + side, top + side)))
            longest = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0)
            inside = (boxes[:, :2] > MARGIN).all(1) & (boxes[:, 2:] < side - MARGIN).all(1)
            kept = inside & (longest < MAX_SHARE_OF_TILE * side)
            found.append((boxes[kept] + [left, top, left, top], scores[kept]))
        boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        boxes = boxes.clip(0, [*photo.size, *photo.size])
        kept = nms(torch.tensor(boxes), torch.tensor(scores, dtype=torch.double), SAME_BIRD).numpy()
        kept = kept[~are_parts(boxes[kept], scores[kept])]
        return boxes[kept], scores[kept]


def are_parts(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return which boxes [n, 4] show a part of a bird in another box, as a tile may, bool [n].

    The other box is larger and has at least half the score.
    """
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    inside = (high - low).clip(0).prod(2) > PART * area[:, None]
    is_larger = (area[None] > area[:, None]) & (scores[None] >= scores[:, None] / 2)
    return (inside & is_larger).any(1)


def tiles(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Yield left, top and side of overlapping squares that cover a photo."""
    side = round(TILE * min(width, height))
    for top in positions(height, side):
        for left in positions(width, side):
            yield left, top, side


def positions(length: int, side: int) -> list[int]:
    """Return at least two starts of tiles along a side of a photo, evenly spaced."""
    count = max(2, round((length - side) / (TILE_STEP * side)) + 1)
    return np.linspace(0, length - side, count).astype(int).tolist()


def find_boxes(recipe: FinderRecipe) -> pd.DataFrame:
    """Return the boxes of a recipe's whole photos: those of its CSV, else those of its teacher.

    Raises DatasetError or WeightsError for a missing folder or file.
    """
    if not recipe.whole_photos:
        return pd.DataFrame(columns=COLUMNS)
    if recipe.boxes:
        return read_boxes(Path(recipe.boxes), recipe.whole_photos)
    teacher = Teacher(Path(os.environ.get(VARIABLE) or recipe.teacher))
    folder, paths = find_whole_photos(recipe.whole_photos)

    def find(path: str) -> list[tuple]:
        photo, scale = load_photo(folder / path, LONGEST)
        boxes, scores = teacher.find_in_tiles(photo)
        sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1) / scale
        return [(path, *side, score) for side, score in zip(sides, scores, strict=True)]

    rows = [row for found in map_threads(find, paths) for row in found]
    return pd.DataFrame(rows, columns=[*COLUMNS, "score"]).round(3)
