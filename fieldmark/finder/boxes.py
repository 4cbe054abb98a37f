"""Boxes as the finder's network finds them, and what they have in common with true ones."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import batched_nms

from fieldmark.finder.detector import Detector, decode_boxes

MIN_SCORE = 0.05  # below it no box is considered
SAME_BIRD = 0.5  # intersection over union above which two boxes are of one bird
MAX_BOXES = 8
FOUND = 0.5  # intersection over union with which a box counts as that of a bird


class FinderGraph(nn.Module):
    """The graph inside finder.onnx: photos, uint8 [N, H, W, 3], to scores and boxes.

    `score` [N, h, w] is 0 but at its local maxima in 3 x 3 positions; `box` [N, h, w, 4] is left,
    top, right and bottom in pixels of the input.
    """

    def __init__(self, detector: Detector):
        super().__init__()
        self.detector = detector

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `score` and `box`."""
        return score_boxes(self.detector(photo))


def score_boxes(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `score` and `box` of FinderGraph from outputs of a Detector."""
    score = outputs[:, :1].float().sigmoid()
    highest = functional.max_pool2d(score, 3, stride=1, padding=1)
    peaks = score * (score >= highest)
    return peaks[:, 0], decode_boxes(outputs.float()).permute(0, 2, 3, 1)


def select_boxes(
    score: torch.Tensor, box: torch.Tensor, size: tuple[int, int], threshold: float = MIN_SCORE
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the boxes [n, 4] of different birds, best first, and their scores [n].

    `score` is [...], `box` [..., 4] in pixels of a photo of `size` (width and height), to which the
    boxes are clipped; those of less than a pixel are left out. At most MAX_BOXES of `threshold` and
    more are returned.
    """
    found = score >= threshold
    scores, boxes = score[found], box[found]
    limits = boxes.new_tensor([*size, *size])
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    has_area = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
    scores, boxes = scores[has_area], boxes[has_area]
    kept = batched_nms(boxes, scores, torch.zeros_like(scores), SAME_BIRD)[:MAX_BOXES]
    return boxes[kept], scores[kept]


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union [n, m] of boxes [n, 4] and [m, 4], as corners."""
    first, second = (np.asarray(boxes, float).reshape(-1, 4) for boxes in (first, second))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
