"""The graph inside birds.onnx: prepared photos in; probability, unknown, heatmap, embedding out."""

import torch
from torch import nn
from torch.nn import functional

from fieldmark.errors import ExportError
from fieldmark.evaluation.ood import Probability, Score
from fieldmark.network.head import fold_head
from fieldmark.network.network import Network

__all__ = ["ExportError", "Graph"]


class Graph(nn.Module):
    """The model of a Network, from uint8 pixels to the four outputs, in float32.

    Logits are divided by `temperature`, and `score` tells how strange a photo is.

    The head (average pool, batch norm, linear) is folded into one matrix, so that the class
    activation map is exact: a class's logit is the mean of its map, plus a constant. Equal to
    Grad-CAM (Selvaraju et al. 2017) for such a head; the map itself is Zhou et al. 2016.
    `map_size` is its height and width, None for a body without a map, whose heatmap is zero.
    """

    def __init__(self, network: Network, temperature: float = 1.0, score: Score | None = None):
        super().__init__()
        model = network.model.eval()
        self.body, self.temperature, self.score = model[0], temperature, score or Probability()
        self.map_size = self.body.map_size
        mean, std = network.preparation.statistics()
        self.register_buffer("pixel_mean", mean[None])
        self.register_buffer("pixel_std", std[None])
        weight, bias = fold_head(network.head)
        self.register_buffer("class_weight", weight)
        self.register_buffer("class_bias", bias)

    def forward(self, photo: torch.Tensor):
        """Answer for photos, uint8 [N, S, S, 3]."""
        pixels = photo.permute(0, 3, 1, 2).float() / 255
        features = self.body((pixels - self.pixel_mean) / self.pixel_std)
        embedding = features.mean((2, 3))
        logits = (embedding @ self.class_weight.T + self.class_bias) / self.temperature
        probability, unknown = logits.softmax(1), self.score(embedding, logits)
        # one node; to index by would be eight
        weight = functional.embedding(logits.argmax(1), self.class_weight)
        seen = (features * weight[:, :, None, None]).sum(1).relu()
        if not self.map_size:
            seen = torch.zeros_like(seen)
        highest = seen.amax((1, 2), keepdim=True)
        return probability, unknown, seen / highest.clamp(min=1e-6), embedding
