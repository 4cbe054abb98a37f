"""A teacher: another network, which knows the birds already, for the Learner to learn from."""

from functools import partial

import timm
import torch
from fastai.vision.all import Learner, Normalize
from torch import nn

from .baseline import probe
from .bodies import sized
from .learner import features, pretrained, wanted, weights_facts

SETTING = "FIELDMARK_TEACHER"


class TeacherNet(nn.Module):
    """A frozen network and a linear probe, asked with photos as the Learner's own body gets them.

    Takes photos [n, 3, S, S] normalised by the Learner's `norm`, gives logits of the Learner's
    labels, [n, C], and of the classes that the network itself was taught, [n, K].
    """

    def __init__(self, network: nn.Module, norm: Normalize, mean: tuple, std: tuple):
        super().__init__()
        self.network, self.head = network, nn.Identity()
        # from the Learner's normalisation to the teacher's in one step
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (mean, std))
        own_mean, own_std = norm.mean.cpu(), norm.std.cpu()
        self.register_buffer("scale", own_std / std)
        self.register_buffer("shift", (own_mean - mean) / std)
        self.requires_grad_(False)

    @property
    def classes(self) -> int:
        """K: in how many classes of its own the network answers; 0 if it doesn't."""
        return self.network.num_classes

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both kinds of logits."""
        embedding = self.embedding(photos)
        return self.head(embedding), self.network.get_classifier()(embedding)

    def embedding(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the vector that the network's own classifier reads, [n, D]."""
        photos = photos.as_subclass(torch.Tensor) * self.scale + self.shift
        maps = self.network.forward_features(photos.contiguous(memory_format=torch.channels_last))
        return self.network.forward_head(maps, pre_logits=True)


def make_teacher(
    learn: Learner,
    arch: str,
    weights: str = "pretrained",
    mean: tuple | None = None,
    std: tuple | None = None,
    classes: int = 0,
    precision: str = "float32",
    **options,
) -> tuple[TeacherNet, float]:
    """Make a teacher of a timm network; a linear probe on the photos of `train` is its head.

    FIELDMARK_TEACHER overrides `weights`. `mean` and `std` are by channel, the architecture's own
    unless given; with `classes`, as many as it was taught, it also answers in these; `options` go
    to timm. `precision` is that in which it is asked for its probe. Returns the teacher and its
    accuracy on `tune`.
    Raises WeightsError where the weights can't be had.
    """
    weights = wanted_teacher(weights=weights)
    config = timm.get_pretrained_cfg(arch)
    options = sized(arch, learn.model[0].size, **options)
    network = pretrained(
        partial(timm.create_model, arch, **options), arch, weights, SETTING, classes
    )
    network = network.eval().to(learn.dls.device, memory_format=torch.channels_last)
    norm = next(t for t in learn.dls.valid.after_batch.fs if isinstance(t, Normalize))
    net = TeacherNet(network, norm, mean or config.mean, std or config.std).to(learn.dls.device)
    (taught, labels), (asked, truth) = features(learn, net.embedding, precision)
    fitted = probe(taught.numpy(), labels.numpy(), C=0.01)
    net.head = nn.Linear(*reversed(fitted.weight.shape)).requires_grad_(False)
    net.head.weight.copy_(torch.from_numpy(fitted.weight))
    net.head.bias.copy_(torch.from_numpy(fitted.bias))
    net.head.to(learn.dls.device)
    return net, fitted.accuracy(asked.numpy(), truth.numpy())["value"]


def wanted_teacher(weights: str = "pretrained", **_) -> str:
    """Return a recipe's `weights` of the teacher, or what FIELDMARK_TEACHER says in their place."""
    return wanted(weights, SETTING)


def teacher_facts(arch: str, weights: str = "pretrained", **_) -> dict:
    """Tell what taught: architecture, and the file of the weights with its SHA-256."""
    return {"architecture": arch} | weights_facts(wanted_teacher(weights))
