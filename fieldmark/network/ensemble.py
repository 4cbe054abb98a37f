"""Several networks as one: side by side, or with averaged weights."""

from dataclasses import replace
from typing import TYPE_CHECKING

import timm
import torch
from torch import nn

from fieldmark.network.backbone import Backbone, timm_options
from fieldmark.network.head import create_head, find_batch_norm, fold_head
from fieldmark.network.preparation import Preparation, renormalization

if TYPE_CHECKING:
    from fieldmark.network.network import Network


class JoinedBackbones(nn.Module):
    """Backbones side by side as one, whose map has the features of all: [N, D1 + D2 ..., h, w].

    Photos come in the first backbone's normalisation and are converted to each one's own:
    `statistics` are their means and standard deviations, [backbones, 2, 3]. If the maps differ in
    size, there is none, and the features are the mean of each map.
    """

    def __init__(self, backbones: list[Backbone], statistics: torch.Tensor):
        super().__init__()
        self.bodies = nn.ModuleList(backbones)  # the name in the weights of saved ensembles
        self.size, self.width = backbones[0].size, sum(backbone.width for backbone in backbones)
        sizes = [backbone.map_size for backbone in backbones]
        self.map_size = sizes[0] if sizes.count(sizes[0]) == len(sizes) else None
        mean, std = statistics[..., None, None].unbind(1)
        scale, shift = renormalization(mean[0], std[0], mean, std)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the map of photos [N, 3, S, S], or the vector as [N, D1 + D2 ..., 1, 1]."""
        features = [
            backbone(photos * scale + shift)
            for backbone, scale, shift in zip(self.bodies, self.scale, self.shift, strict=True)
        ]
        if not self.map_size:
            features = [maps.mean((2, 3), keepdim=True) for maps in features]
        return torch.cat(features, 1)


def join_networks(networks: list["Network"], temperatures: list[float]) -> "Network":
    """Return one network whose logits are the mean of the networks' calibrated logits.

    Its probabilities are the normalised geometric mean of theirs. Backbones stand side by side, and
    the folded heads become one linear layer, so that the class activation map stays exact.
    """
    heads = [fold_head(network.head) for network in networks]
    preparations = [network.preparation for network in networks]
    model = combine(
        JoinedBackbones([network.backbone for network in networks], statistics(preparations)),
        len(networks[0].classes),
    )
    with torch.no_grad():
        factors = [1 / temperature / len(networks) for temperature in temperatures]
        weights = [weight * factor for (weight, _), factor in zip(heads, factors, strict=True)]
        biases = [bias * factor for (_, bias), factor in zip(heads, factors, strict=True)]
        model[1][-1].weight.copy_(torch.cat(weights, 1))
        model[1][-1].bias.copy_(sum(biases))
    return replace(
        networks[0],
        arch=" + ".join(network.arch for network in networks),
        arch_options={},
        model=model,
        members=[describe_member(network) for network in networks],
    )


def describe_member(network: "Network") -> dict:
    """Return the keyword arguments of timm.create_model that recreate a network's backbone."""
    options = timm_options(network.arch, network.preparation.size, **network.arch_options)
    return {"model_name": network.arch} | options


def create_joined_model(members: list[dict], size: int, num_classes: int) -> nn.Sequential:
    """Return a model as `join_networks` builds it, whose weights are still to be loaded.

    `members` are the entries of `describe_member`.
    """
    models = [timm.create_model(num_classes=0, **options) for options in members]
    backbones = [Backbone(model, size) for model in models]
    return combine(JoinedBackbones(backbones, torch.ones(len(backbones), 2, 3)), num_classes)


def combine(backbone: JoinedBackbones, num_classes: int) -> nn.Sequential:
    """Return joined backbones with a head whose batch norm is the identity."""
    head = create_head(backbone.width, num_classes, dropout=0.5)
    norm = find_batch_norm(head)
    norm.running_var.fill_(1 - norm.eps)
    nn.init.zeros_(norm.bias)
    head[-1] = nn.Linear(backbone.width, num_classes)
    return nn.Sequential(backbone, head).eval()


def statistics(preparations: list[Preparation]) -> torch.Tensor:
    """Return means and standard deviations by channel, [networks, 2, 3]."""
    return torch.tensor([[p.mean, p.std] for p in preparations])


def average_weights(networks: list["Network"]) -> "Network":
    """Return the first network with the mean of all networks' weights (Wortsman et al. 2022)."""
    states = [network.model.state_dict() for network in networks]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }
    networks[0].model.load_state_dict(mean)
    networks[0].model.eval()
    return networks[0]
