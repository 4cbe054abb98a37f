"""Several networks side by side as one, whose answer is the mean of theirs."""

import timm
import torch
from fastai.vision.all import add_head
from torch import nn

from export.graph import folded
from fieldmark.network.backbone import Body, between


class Joined(nn.Module):
    """Bodies side by side, as one whose map has all their features: [N, D1 + D2 ..., h, w].

    Each gets photos in its own normalisation: `statistics` are mean and standard deviation by
    channel of each, [bodies, 2, 3], and the caller's are those of the first. Where maps differ in
    size there is none, and each body gives the mean of its own.
    """

    def __init__(self, bodies: list[Body], statistics: torch.Tensor):
        super().__init__()
        self.bodies = nn.ModuleList(bodies)
        self.size, self.width = bodies[0].size, sum(body.width for body in bodies)
        sizes = [body.map_size for body in bodies]
        self.map_size = sizes[0] if sizes.count(sizes[0]) == len(sizes) else None
        mean, std = statistics[..., None, None].unbind(1)
        scale, shift = between(mean[0], std[0], mean, std)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the map of photos [N, 3, S, S], or the vector as [N, D1 + D2 ..., 1, 1]."""
        found = [
            body(photos * scale + shift)
            for body, scale, shift in zip(self.bodies, self.scale, self.shift, strict=True)
        ]
        if not self.map_size:
            found = [features.mean((2, 3), keepdim=True) for features in found]
        return torch.cat(found, 1)


def join(
    models: list[nn.Sequential], statistics: torch.Tensor, temperatures: list[float]
) -> nn.Sequential:
    """Return one network, whose logits are the mean of the models' divided by their temperatures.

    Its probabilities are then the geometric mean of theirs, but for a factor. Bodies stand side by
    side, and the heads, each folded to one matrix, become one linear layer behind them, so that the
    map of the whole is as exact as theirs. `statistics` as for Joined.
    """
    heads = [folded(model[1]) for model in models]
    network = headed(Joined([model[0] for model in models], statistics), len(heads[0][1]))
    with torch.no_grad():
        shares = [1 / warmth / len(models) for warmth in temperatures]
        weights = [weight * share for (weight, _), share in zip(heads, shares, strict=True)]
        network[1][-1].weight.copy_(torch.cat(weights, 1))
        network[1][-1].bias.copy_(
            sum(bias * share for (_, bias), share in zip(heads, shares, strict=True))
        )
    return network


def blank(members: list[dict], size: int, classes: int) -> nn.Sequential:
    """Return a network as `join` makes one, for its weights to be loaded.

    `members` are what timm must be told to make each body.
    """
    made = [timm.create_model(num_classes=0, **each) for each in members]
    bodies = [Body(model, size) for model in made]
    return headed(Joined(bodies, torch.ones(len(bodies), 2, 3)), classes)


def headed(body: Joined, classes: int) -> nn.Sequential:
    """Put a head of the usual form behind joined bodies; its batch norm does nothing."""
    network = add_head(body, body.width, classes, lin_ftrs=[], concat_pool=False)
    norm = next(layer for layer in network[1] if isinstance(layer, nn.BatchNorm1d))
    norm.running_var.fill_(1 - norm.eps)
    nn.init.zeros_(norm.bias)  # where fastai starts at a thousandth
    network[1][-1] = nn.Linear(body.width, classes)
    return network.eval()


def averaged(models: list[nn.Sequential]) -> nn.Sequential:
    """Return the first model with the mean of all the models' weights (Wortsman et al. 2022)."""
    states = [model.state_dict() for model in models]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }
    models[0].load_state_dict(mean)
    return models[0].eval()
