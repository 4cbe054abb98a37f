"""The loss of the finder's network against its targets."""

import torch
from torch.nn import functional

from fieldmark.finder.detector import decode_boxes

BOX_WEIGHT = 2.0


def detection_loss(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the loss of scores and boxes, for outputs [N, 5, h, w] and targets [N, 6, h, w]."""
    outputs = outputs.float()
    return score_loss(outputs[:, 0], target[:, 0]) + BOX_WEIGHT * box_loss(outputs, target)


def score_loss(logits: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Return the penalty-reduced focal loss of CenterNet (Zhou et al. 2019) for each bird."""
    probability, is_centre = logits.sigmoid(), (score >= 1).float()
    missed = functional.logsigmoid(logits) * (1 - probability) ** 2 * is_centre
    false = functional.logsigmoid(-logits) * probability**2 * (1 - score) ** 4 * (1 - is_centre)
    return -(missed.sum() + false.sum()) / is_centre.sum().clamp(min=1)


def box_loss(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean of 1 - GIoU (Rezatofighi et al. 2019) over positions that learn a box."""
    predicted, true, weight = decode_boxes(outputs), target[:, 1:5], target[:, 5]
    shared = area(intersect(predicted, true))
    union = area(predicted) + area(true) - shared
    hull = area(enclose(predicted, true))
    giou = shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)
    return ((1 - giou) * weight).sum() / weight.sum().clamp(min=1e-6)


def intersect(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the intersections of boxes [N, 4, h, w]; an empty one has no positive side."""
    low = torch.maximum(first[:, :2], second[:, :2])
    return torch.cat([low, torch.minimum(first[:, 2:], second[:, 2:])], 1)


def enclose(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the smallest boxes [N, 4, h, w] that hold two boxes each."""
    low = torch.minimum(first[:, :2], second[:, :2])
    return torch.cat([low, torch.maximum(first[:, 2:], second[:, 2:])], 1)


def area(boxes: torch.Tensor) -> torch.Tensor:
    """Return the areas [N, h, w] of boxes [N, 4, h, w]; 0 for an empty box."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
