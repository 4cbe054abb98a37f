"""Measure what a finder finds: of the birds in held-out scenes, by their share of the frame."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from birds.finder import Finder
from birds.photo import DecodedPhoto, finder_input
from fieldmark.data.parallel import map_threads
from fieldmark.finder.boxes import FOUND, MIN_SCORE, pairwise_iou
from fieldmark.finder.dataset import SceneDataset
from fieldmark.statistics import bootstrap_interval, wilson_interval

LARGE = 0.25  # share of the frame's shorter side from which a bird is large
SHARES = (0, 0.15, LARGE, 0.35, 0.5, 0.7, np.inf)  # limits of the table by share
MAX_THRESHOLD = 0.5
Find = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # pixels -> corners and scores


class Detections(NamedTuple):
    """What was found in scenes, as two tables.

    `birds` has a row for each bird: its `scene`, its `share` (longer side over the frame's shorter
    side), the `iou` of the best box and the highest `score` of a box that overlaps it by FOUND, 0
    without one. `boxes` has a row for each box: `scene`, `score`, and its `iou` with a bird.
    `scenes` is their number.
    """

    birds: pd.DataFrame
    boxes: pd.DataFrame
    scenes: int


def detect(find: Find, dataset: SceneDataset, numbers: Sequence[int]) -> Detections:
    """Find the birds in the scenes of a data set that have some numbers."""
    birds, boxes = [], []
    for number, (pixels, true) in zip(numbers, map_threads(dataset.scene, numbers), strict=True):
        found, scores = find(pixels)
        overlap = pairwise_iou(true, found)
        sides = (true[:, 2:] - true[:, :2]).max(1) / min(pixels.shape[:2])
        hits = np.where(overlap >= FOUND, scores, 0).max(1, initial=0)
        birds += zip([number] * len(true), sides, overlap.max(1, initial=0), hits, strict=True)
        best = overlap.max(0, initial=0)
        boxes += zip([number] * len(found), scores.tolist(), best, strict=True)
    return Detections(
        pd.DataFrame(birds, columns=["scene", "share", "iou", "score"]),
        pd.DataFrame(boxes, columns=["scene", "score", "iou"]),
        len(numbers),
    )


def find_by_file(finder: Finder) -> Find:
    """Return what finds boxes in a photo's pixels as the function does."""

    def find(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = pixels.shape[:2]
        coarse = finder_input(Image.fromarray(pixels), finder.size, finder.filter)
        boxes = finder.find(DecodedPhoto(pixels, width, height, coarse))
        rows = [[b.left, b.top, b.left + b.width, b.top + b.height, b.score] for b in boxes]
        found = np.array(rows).reshape(-1, 5)
        return found[:, :4], found[:, 4]

    return find


def choose_threshold(birds: pd.DataFrame, found_share: float) -> float:
    """Return the highest score at which `found_share` of the large birds are found.

    It is at least MIN_SCORE and at most MAX_THRESHOLD.
    """
    scores = np.sort(birds.loc[birds["share"] >= LARGE, "score"].to_numpy(float))[::-1]
    if not len(scores):
        return MIN_SCORE
    needed = scores[min(len(scores), int(np.ceil(found_share * len(scores)))) - 1]
    return float(np.clip(np.floor(needed * 1000) / 1000, MIN_SCORE, MAX_THRESHOLD))


def compute_metrics(detections: Detections, threshold: float) -> dict:
    """Return the metrics of a card, each with its interval.

    `found` is the share of birds with a box that overlaps by FOUND and scores `threshold`, also for
    large birds and by share of the frame; `mean_iou` that of the best box; `false_boxes` the share
    of scenes without a bird in which one is found; `first_box` the share of scenes with a bird
    whose best box is on a bird.
    """
    birds = detections.birds
    boxes = detections.boxes[detections.boxes["score"] >= threshold]
    found = birds["score"] >= threshold
    large = found[birds["share"] >= LARGE]
    with_bird = set(birds["scene"])
    first = boxes.groupby("scene").first()
    false = [scene for scene in first.index if scene not in with_bird]
    empty = detections.scenes - len(with_bird)
    on_bird = first["iou"].reindex(sorted(with_bird), fill_value=0) >= FOUND
    return {
        "found": proportion(found),
        "found_large": proportion(large),
        "mean_iou": bootstrap_interval([birds["iou"].to_numpy()], np.mean) if len(birds) else None,
        "first_box": proportion(on_bird),
        "false_boxes": wilson_interval(len(false), empty) if empty else None,
        "by_share": {
            f"{low:g} to {high:g}" if np.isfinite(high) else f"over {low:g}": proportion(rows)
            for (low, high), rows in group_by_share(birds, found).items()
        },
    }


def group_by_share(birds: pd.DataFrame, values: pd.Series) -> dict[tuple[float, float], pd.Series]:
    """Return values of birds by the limits of their shares."""
    groups = {}
    for low, high in pairwise(SHARES):
        groups[low, high] = values[(birds["share"] >= low) & (birds["share"] < high)]
    return groups


def proportion(hits: pd.Series) -> dict | None:
    """Return the share of true values with its interval, None without values."""
    return wilson_interval(int(hits.sum()), len(hits)) if len(hits) else None
