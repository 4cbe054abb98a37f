"""The gate of a finder: from a photo's bytes, its file must find the boxes of its network."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from birds.crops import Box
from birds.finder import Finder, FineLook
from birds.photo import decode_upright
from export.consistency import ModelFileError
from export.finder_input import prepare_reference
from fieldmark.errors import GateError
from fieldmark.finder.boxes import pairwise_iou, score_boxes, select_boxes
from fieldmark.finder.detector import Detector

MIN_IOU = 0.99
TOLERANCE = 1e-3  # of a score; a box this close to the threshold may be found by one side only
PIXEL_TOLERANCE = 6.0  # mean difference of the inputs in grey levels: decoding at other scales
BATCH_TOLERANCE = 1e-4, 0.05  # of score and box, between one photo in a batch and alone


def check_gate(
    finder: Finder, detector: Detector, photos: Mapping[str, bytes]
) -> tuple[pd.DataFrame, dict]:
    """Return a row for each photo and the card's entry `gate`, or raise GateError.

    Each box of the file must be one of the network's, with an intersection over union of MIN_IOU
    and a score within TOLERANCE, and the other way round. The file's input must look like the photo
    in the shape that the network was trained with. Raises ModelFileError if photos in a batch have
    other outputs than alone.
    """
    rows = {name: compare(finder, detector, data) for name, data in photos.items()}
    report = pd.DataFrame.from_dict(rows, orient="index").rename_axis("photo")
    report = report.sort_values(["passed", "pixel_difference"], ascending=[True, False])
    failed = report[~report["passed"]]
    if len(failed):
        raise GateError(
            f"The finder's file finds other boxes than its network in {len(failed)} of "
            f"{len(report)} photos, so no file was written. Export again with the code that "
            f"trained the network. The first:\n{failed.head(10).to_string()}",
            report,
        )
    return report, {
        "photos": len(report),
        "boxes": int(report["boxes"].sum()),
        "largest_score_difference": float(report["score_difference"].max()),
        "lowest_iou": round(float(report["iou"].min()), 4),
        "largest_difference_in_batches": check_batches(finder),
    }


def compare(finder: Finder, detector: Detector, data: bytes) -> dict:
    """Return how the file's boxes and inputs for a photo differ from the network's."""
    decoded = decode_upright(data, finder.size, finder.filter)
    inputs, size = [np.asarray(decoded.finder_pixels)], (decoded.width, decoded.height)
    found, threshold = to_rows(finder.find(decoded)), finder.card["threshold"]
    expected, sizes = find(detector, inputs, size, threshold - TOLERANCE), [finder.size]
    card_entry = finder.card.get("fine")  # not `finder.fine`, which is under test
    fine = FineLook(**card_entry) if card_entry else None
    if fine and fine.is_needed(to_boxes(expected), *size):
        inputs.append(finder.fine_pixels(decoded, fine.size))
        expected = find(detector, inputs, size, threshold - TOLERANCE)
        sizes.append(fine.size)
    difference = max(
        pixel_difference(pixels, prepare_reference(data, longer_side))
        for pixels, longer_side in zip(inputs, sizes, strict=True)
    )
    iou, score_difference = match(found, expected, threshold + TOLERANCE)
    close = iou >= MIN_IOU and score_difference <= TOLERANCE and difference <= PIXEL_TOLERANCE
    return {
        "boxes": len(found),
        "looks": len(inputs),
        "iou": iou,
        "score_difference": score_difference,
        "pixel_difference": difference,
        "passed": bool(close),
    }


def pixel_difference(pixels: np.ndarray, reference: np.ndarray) -> float:
    """Return the mean difference of two inputs in grey levels, infinite for other shapes."""
    if pixels.shape != reference.shape:
        return np.inf
    return float(abs(pixels.astype(float) - reference).mean())


@torch.no_grad()
def find(
    detector: Detector, inputs: list[np.ndarray], size: tuple[int, int], threshold: float
) -> np.ndarray:
    """Return the network's boxes as left, top, right, bottom and score, [n, 5].

    `inputs`, uint8 [H, W, 3] each, are the photo of a `size` as each look sees it.
    """
    scores, boxes = [], []
    for pixels in inputs:
        score, box = score_boxes(detector(torch.from_numpy(pixels.copy())[None]))
        scale = torch.tensor([size[0] / pixels.shape[1], size[1] / pixels.shape[0]] * 2)
        scores.append(score.flatten())
        boxes.append((box * scale).reshape(-1, 4))
    kept, kept_scores = select_boxes(torch.cat(scores), torch.cat(boxes), size, threshold)
    return torch.cat([kept, kept_scores[:, None]], 1).numpy()


def to_boxes(rows: np.ndarray) -> list[Box]:
    """Return the boxes of rows as `find` returns them."""
    return [
        Box(left, top, right - left, bottom - top, score)
        for left, top, right, bottom, score in rows.tolist()
    ]


def to_rows(boxes: list[Box]) -> np.ndarray:
    """Return boxes as left, top, right, bottom and score, [n, 5]."""
    rows = [(b.left, b.top, b.left + b.width, b.top + b.height, b.score) for b in boxes]
    return np.array(rows, float).reshape(-1, 5)


def match(found: np.ndarray, expected: np.ndarray, certain: float) -> tuple[float, float]:
    """Return the lowest overlap, and the largest difference of scores, of boxes that belong.

    Each found box is matched with one of `expected`, which may hold more boxes only if they score
    less than `certain`. The overlap is 0 for a box without a partner.
    """
    iou, left = pairwise_iou(found[:, :4], expected[:, :4]), list(range(len(expected)))
    lowest, largest = 1.0, 0.0
    for row, overlaps in zip(found, iou, strict=True):
        if not left:
            return 0.0, largest
        partner = max(left, key=lambda index: overlaps[index])
        left.remove(partner)
        lowest = min(lowest, float(overlaps[partner]))
        largest = max(largest, abs(float(row[4] - expected[partner, 4])))
    return (0.0 if any(expected[index, 4] >= certain for index in left) else lowest), largest


def check_batches(finder: Finder) -> float:
    """Return the largest difference of a score between a photo in a batch and alone.

    Raises ModelFileError if it, or that of a box, is too large.
    """
    pixels = np.random.default_rng(0).integers(256, size=(3, 96, 160, 3)).astype(np.uint8)
    together = finder.predict(pixels)
    alone = [
        np.concatenate(parts) for parts in zip(*map(finder.predict, pixels[:, None]), strict=True)
    ]
    differences = [abs(a - b).max() for a, b in zip(together, alone, strict=True)]
    if any(d > limit for d, limit in zip(differences, BATCH_TOLERANCE, strict=True)):
        raise ModelFileError(
            "The finder's outputs for photos in a batch differ from those alone: the graph mixes "
            "photos. Find the operator that works across the first axis, and export without it."
        )
    return float(differences[0])
