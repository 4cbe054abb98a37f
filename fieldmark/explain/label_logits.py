"""The network as a differentiable module from normalised photos to the logits of labels."""

from copy import deepcopy

import torch
from torch import nn

from fieldmark.network.network import Network
from fieldmark.network.subclasses import group_classes, sum_classes


class LabelLogits(nn.Module):
    """A copy of a network in evaluation mode, from photos [N, 3, S, S] to logits [N, C].

    The photos are normalised, as `Preparation.normalize` returns them. The logits are those of
    labels, those of sub-classes summed, divided by `temperature`. The weights need no gradients,
    and no activation works in place, because attribution methods read what goes into it.
    """

    def __init__(self, network: Network, temperature: float = 1.0):
        super().__init__()
        self.model = deepcopy(network.model).eval().requires_grad_(False)
        self.temperature = temperature
        self.label_index = index = network.label_index
        self.groups = None if index is None else group_classes(index)
        for module in self.model.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def backbone(self) -> nn.Module:
        """Return the part that turns photos into feature maps [N, D, h, w]."""
        return self.model[0]

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the logits of labels."""
        logits = self.model(photos) / self.temperature
        return logits if self.groups is None else sum_classes(logits, self.groups)
