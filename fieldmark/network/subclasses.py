"""Sum the probabilities of sub-classes, such as plumages, to those of their species."""

import numpy as np
import torch
from torch.nn import functional

ABSENT = -1e30  # the logit of a sub-class that a species does not have


def group_classes(label_index: np.ndarray) -> torch.Tensor:
    """Return the indices of the classes of each label, int64 [C, K].

    `label_index` [B] is the label of each class. Labels with fewer than K classes are filled up
    with B.
    """
    groups = [np.flatnonzero(label_index == label) for label in range(label_index.max() + 1)]
    table = np.full((len(groups), max(map(len, groups))), len(label_index))
    for row, group in zip(table, groups, strict=True):
        row[: len(group)] = group
    return torch.from_numpy(table)


def sum_classes(logits: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Return logits of labels [N, C] whose softmax sums that of the classes' logits [N, B].

    `groups` is what `group_classes` returns.
    """
    return functional.pad(logits, (0, 1), value=ABSENT)[:, groups].logsumexp(2)


def sum_to_labels(logits: np.ndarray, label_index: np.ndarray | None) -> np.ndarray:
    """Return the logits of labels [N, C] of those of classes [N, B]; None: classes are labels."""
    if label_index is None:
        return logits
    return sum_classes(torch.from_numpy(logits), group_classes(label_index)).numpy()
