"""The classification head: average pool, batch norm, dropout, linear."""

import torch
from torch import nn

from fieldmark.errors import ExportError


def create_head(width: int, num_classes: int, dropout: float = 0.2) -> nn.Sequential:
    """Return a head for feature maps [N, width, h, w], with the modules and start of fastai's.

    As `fastai.vision.learner.add_head(..., lin_ftrs=[], concat_pool=False)`, so that weights, their
    names and what a seed draws are the same. Batch norm follows the pool, hence the linear layer
    has no bias; a dropout of 0 has no layer.
    """
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(width),
        *([nn.Dropout(dropout)] if dropout else []),
        nn.Linear(width, num_classes, bias=False),
    )
    find_batch_norm(head).bias.data.fill_(1e-3)
    nn.init.kaiming_normal_(head[-1].weight)
    return head


def find_batch_norm(head: nn.Sequential) -> nn.BatchNorm1d:
    """Return the batch norm of a head."""
    return next(module for module in head if isinstance(module, nn.BatchNorm1d))


def fold_head(head: nn.Sequential) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold a head in evaluation mode into one weight [C, D] and bias [C], float32.

    Raises ExportError for a head with other modules than those of `create_head`.
    """
    kinds = [type(module).__name__ for module in head if not isinstance(module, nn.Dropout)]
    if kinds != ["AdaptiveAvgPool2d", "Flatten", "BatchNorm1d", "Linear"]:
        raise ExportError(
            "The head must be average pool, batch norm, dropout, linear, as create_head returns; "
            f"this one is {', '.join(kinds)}."
        )
    norm, linear = find_batch_norm(head), head[-1]
    with torch.no_grad():
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = linear.weight.double() * scale
        bias = linear.weight.double() @ (norm.bias.double() - norm.running_mean.double() * scale)
        if linear.bias is not None:
            bias += linear.bias.double()
    return weight.float(), bias.float()
