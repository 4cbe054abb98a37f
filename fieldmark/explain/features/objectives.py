"""What an image is optimised for: a value of a network's feature maps and logits.

As in Olah, Mordvintsev and Schubert (2017), "Feature Visualization". Objectives can be added and
multiplied by weights: `channel("stage 3", 7) + 0.5 * diversity("stage 3")`. Those with `image` are
of that image of the batch; without it, of the mean over the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from fieldmark.explain.features.stages import LOGITS

Features = Mapping[str, torch.Tensor]  # maps [N, D, h, w] by stage, and logits [N, C]


@dataclass(frozen=True)
class Objective:
    """A function from features to a scalar that is to be maximised."""

    compute: Callable[[Features], torch.Tensor]

    def __call__(self, features: Features) -> torch.Tensor:
        """Return the value."""
        return self.compute(features)

    def __add__(self, other: "Objective") -> "Objective":
        """Return the sum of two objectives."""
        return Objective(lambda features: self(features) + other(features))

    def __mul__(self, weight: float) -> "Objective":
        """Return the objective times a weight."""
        return Objective(lambda features: weight * self(features))

    __rmul__ = __mul__


def total(objectives: Sequence[Objective]) -> Objective:
    """Return the sum of objectives."""
    return Objective(lambda features: torch.stack([each(features) for each in objectives]).sum())


def of_image(values: torch.Tensor, image: int | None) -> torch.Tensor:
    """Return the part of a batch [N, ...] that belongs to one image, or all of it."""
    return values if image is None else values[image : image + 1]


def channel(stage: str, index: int, image: int | None = None) -> Objective:
    """Return the mean of a channel over all positions."""
    return Objective(lambda features: of_image(features[stage], image)[:, index].mean())


def neuron(stage: str, index: int, image: int | None = None) -> Objective:
    """Return the value of a channel at the middle position."""

    def compute(features: Features) -> torch.Tensor:
        maps = of_image(features[stage], image)
        return maps[:, index, maps.shape[2] // 2, maps.shape[3] // 2].mean()

    return Objective(compute)


def direction(stage: str, vector: torch.Tensor, image: int | None = None) -> Objective:
    """Return how far features point in the direction of a vector [D], mean over positions.

    The dot product, which grows with any strong feature, is multiplied by the cosine, not below
    0.1, so that the angle counts too (Carter et al. 2019, Activation Atlas).
    """

    def compute(features: Features) -> torch.Tensor:
        maps = of_image(features[stage], image)
        unit = functional.normalize(vector, dim=0)[:, None, None].to(maps)
        cosine = functional.cosine_similarity(maps, unit, dim=1)
        return ((maps * unit).sum(1) * cosine.clamp(min=0.1)).mean()

    return Objective(compute)


def label(index: int, image: int | None = None) -> Objective:
    """Return the logit of a label."""
    return Objective(lambda features: of_image(features[LOGITS], image)[:, index].mean())


def contrast(index: int, rival: int, image: int | None = None) -> Objective:
    """Return the logit of a label minus that of another: what speaks for one against the other."""
    return label(index, image) + -1.0 * label(rival, image)


def log_probability(index: int, image: int | None = None) -> Objective:
    """Return the logarithm of a label's probability, which also grows as other logits fall."""

    def compute(features: Features) -> torch.Tensor:
        return of_image(features[LOGITS], image).log_softmax(1)[:, index].mean()

    return Objective(compute)


def similarity(maps: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine between the Gram matrices of different images' maps [N, D, h, w].

    A Gram matrix, of products of channels summed over positions, describes texture wherever it is
    (Gatys, Ecker and Bethge 2015).
    """
    flat = maps.flatten(2)
    grams = functional.normalize((flat @ flat.transpose(1, 2)).flatten(1), dim=1)
    count = len(grams)
    return ((grams @ grams.T).sum() - count) / (count * (count - 1))


def diversity(stage: str, images: Sequence[int] | None = None) -> Objective:
    """Return the negative mean similarity of images of a batch, all of them by default."""

    def compute(features: Features) -> torch.Tensor:
        maps = features[stage]
        return -similarity(maps if images is None else maps[list(images)])

    return Objective(compute)
