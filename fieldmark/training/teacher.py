"""The teacher of a distillation: a timm network with a linear probe, a run's network, or both."""

from typing import Any

import torch
from torch import nn

from fieldmark.network.preparation import Preparation, renormalization


class Renormalized(nn.Module):
    """A module for photos in another normalisation than its own."""

    def __init__(self, module: nn.Module, preparation: Preparation, source: Preparation):
        super().__init__()
        self.module = module
        scale, shift = renormalization(*source.statistics(), *preparation.statistics())
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Compute photos [n, 3, S, S] that are normalised as `source`."""
        photos = photos.as_subclass(torch.Tensor) * self.scale + self.shift
        return self.module(photos.contiguous(memory_format=torch.channels_last))


class PreLogits(nn.Module):
    """The vector [n, D] that a timm network's own classifier gets."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the vectors of photos."""
        return self.network.forward_head(self.network.forward_features(photos), pre_logits=True)


class Teacher(nn.Module):
    """A frozen teacher of the labels, for photos as the Learner's own network gets them.

    `embedding` are the PreLogits of a timm network with `num_classes` classes of its own. The
    logits of the labels are those of `run_network`, divided by `temperature`, or of a linear
    probe, or the mean of both, the probe's with the weight `probe_weight`.
    """

    def __init__(
        self,
        embedding: Renormalized,
        run_network: Renormalized | None = None,
        temperature: float = 1.0,
        probe_weight: float = 1.0,
    ):
        super().__init__()
        self.embedding, self.probe = embedding, nn.Identity()
        self.run_network, self.temperature = run_network, temperature
        self.probe_weight = probe_weight if run_network else 1.0
        self.requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """The timm network."""
        return self.embedding.module.network  # pyright: ignore[reportReturnType]

    @property
    def num_classes(self) -> int:
        """K, the number of classes of the timm network's own classifier; 0 if it has none."""
        return int(self.network.num_classes)

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the logits of the labels [n, C], and of the own classes [n, K] if there are any.

        Photos are [n, 3, S, S].
        """
        logits: Any = 0.0
        if self.run_network:
            calibrated = self.run_network(photos) / self.temperature
            logits = (1 - self.probe_weight) * calibrated.log_softmax(1)
        if not self.probe_weight and not self.num_classes:
            return logits, None
        embedding = self.embedding(photos)
        if self.probe_weight:
            logits = logits + self.probe_weight * self.probe(embedding).log_softmax(1)
        return logits, self.network.get_classifier()(embedding)
