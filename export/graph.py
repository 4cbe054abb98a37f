"""The graph inside birds.onnx: prepared photos in; probability, unknown, heatmap, embedding out.

It has two parts, so that the backbone is exported once, computes the embeddings that the
out-of-distribution score is fitted to, and is then joined by the rest.
"""

import torch
from torch import nn
from torch.nn import functional

from fieldmark.evaluation.ood import MaximumSoftmax, OodScore
from fieldmark.network.head import fold_head
from fieldmark.network.network import Network
from fieldmark.network.subclasses import group_classes, sum_classes


class FeatureGraph(nn.Module):
    """The first part: feature maps [N, D, h, w] and embedding [N, D] of photos."""

    def __init__(self, network: Network):
        super().__init__()
        self.backbone = network.backbone.eval()
        for name, values in zip(("mean", "std"), network.preparation.statistics(), strict=True):
            self.register_buffer(f"pixel_{name}", values[None])

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of photos, uint8 [N, S, S, 3]."""
        pixels = photo.permute(0, 3, 1, 2).float() / 255
        features = self.backbone((pixels - self.pixel_mean) / self.pixel_std)
        return features, features.mean((2, 3))


class OutputGraph(nn.Module):
    """The second part: probability [N, C], unknown [N] and heatmap [N, h, w] of features.

    Logits are divided by `temperature`; `unknown` is the out-of-distribution `score`. The
    probability of a species is the sum of those of its sub-classes, and its weights are the mean of
    theirs, by their probabilities.

    The head (average pool, batch norm, linear) is folded into one matrix, so that the class
    activation map is exact: a class's logit is the mean of its map, plus a constant. Equal to
    Grad-CAM (Selvaraju et al. 2017) for such a head; the map itself is Zhou et al. 2016.
    `map_size` is its height and width, None for a backbone without a map, whose heatmap is zero.
    """

    def __init__(self, network: Network, temperature: float, score: OodScore):
        super().__init__()
        self.temperature, self.score = temperature, score
        self.map_size = network.backbone.map_size
        weight, bias = fold_head(network.head)
        self.register_buffer("class_weight", weight)
        self.register_buffer("class_bias", bias)
        index = network.label_index
        self.has_subclasses = index is not None
        if index is not None:
            self.register_buffer("groups", group_classes(index))
            self.register_buffer("members", functional.one_hot(torch.from_numpy(index)).T.float())

    def forward(self, features: torch.Tensor, embedding: torch.Tensor):
        """Return the outputs of features [N, D, h, w] and their mean [N, D]."""
        logits = (embedding @ self.class_weight.T + self.class_bias) / self.temperature
        if self.has_subclasses:
            by_class, logits = logits.softmax(1), sum_classes(logits, self.groups)
            share = by_class * functional.embedding(logits.argmax(1), self.members)
            weight = (share / share.sum(1, keepdim=True)) @ self.class_weight
        else:
            # one node; an index would be eight
            weight = functional.embedding(logits.argmax(1), self.class_weight)
        probability, unknown = logits.softmax(1), self.score(embedding, logits)
        activation = (features * weight[:, :, None, None]).sum(1).relu()
        if not self.map_size:
            activation = torch.zeros_like(activation)
        highest = activation.amax((1, 2), keepdim=True)
        return probability, unknown, activation / highest.clamp(min=1e-6)


class Graph(nn.Module):
    """Both parts, from photos to the four outputs, in float32."""

    def __init__(self, network: Network, temperature: float = 1.0, score: OodScore | None = None):
        super().__init__()
        self.features = FeatureGraph(network)
        self.outputs = OutputGraph(network, temperature, score or MaximumSoftmax())
        self.eval()

    def forward(self, photo: torch.Tensor):
        """Return probability, unknown, heatmap and embedding of photos, uint8 [N, S, S, 3]."""
        features, embedding = self.features(photo)
        return *self.outputs(features, embedding), embedding
