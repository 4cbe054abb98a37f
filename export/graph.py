"""The graph inside birds.onnx: prepared photos in; probability, unknown, heatmap, embedding out."""

import torch
from fastai.vision.all import Learner, Normalize
from torch import nn
from torch.nn import functional

from fieldmark.errors import UserError
from fieldmark.evaluation.ood import Probability, Score


class ExportError(UserError):
    """A Learner that can't become a model file; the text says what it lacks."""


class Graph(nn.Module):
    """The model of a Learner, from uint8 pixels to the four outputs, in float32.

    Logits are divided by `temperature`, and `score` tells how strange a photo is.

    The head (average pool, batch norm, linear) is folded into one matrix, so that the class
    activation map is exact: a class's logit is the mean of its map, plus a constant. Equal to
    Grad-CAM (Selvaraju et al. 2017) for such a head; the map itself is Zhou et al. 2016.
    `map_size` is its height and width, None for a body without a map, whose heatmap is zero.
    """

    def __init__(self, learn: Learner, temperature: float = 1.0, score: Score | None = None):
        super().__init__()
        model = learn.model.eval()
        self.body, self.temperature, self.score = model[0], temperature, score or Probability()
        self.map_size = self.body.map_size
        mean, std = normalisation(learn)
        self.register_buffer("pixel_mean", mean)
        self.register_buffer("pixel_std", std)
        weight, bias = folded(model[1])
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


def normalisation(learn: Learner) -> tuple[torch.Tensor, torch.Tensor]:
    """Read mean and standard deviation, [1, 3, 1, 1], from the Learner's own transform."""
    found = [t for t in learn.dls.valid.after_batch.fs if isinstance(t, Normalize)]
    if len(found) != 1:
        raise ExportError(f"The Learner normalises {len(found)} times; it must be exactly once.")
    statistics = (found[0].mean, found[0].std)
    return tuple(each.detach().cpu().float().reshape(1, 3, 1, 1).clone() for each in statistics)


def folded(head: nn.Sequential) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold an affine head into weight [C, D] and bias [C].

    Raises ExportError for a head with anything else between the average pool and the logits.
    """
    kinds = [type(m).__name__ for m in head if not isinstance(m, nn.Dropout)]
    if kinds != ["AdaptiveAvgPool2d", "Flatten", "BatchNorm1d", "Linear"]:
        raise ExportError(
            "The head must be average pool, batch norm, dropout, linear, as from "
            f"create_head(..., lin_ftrs=[], concat_pool=False); this one is {', '.join(kinds)}."
        )
    norm = next(m for m in head if isinstance(m, nn.BatchNorm1d))
    linear = head[-1]
    with torch.no_grad():
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = linear.weight.double() * scale
        bias = linear.weight.double() @ (norm.bias.double() - norm.running_mean.double() * scale)
        if linear.bias is not None:
            bias += linear.bias.double()
    return weight.float(), bias.float()
