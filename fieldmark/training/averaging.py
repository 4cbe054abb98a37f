"""Average the weights from before and after a training, which keeps robustness of the start."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import torch

from fieldmark.network.network import Network

State = Mapping[str, torch.Tensor]


def copy_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a module's state dict, which further training does not change."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def average_states(start: State, trained: State, share: float) -> dict[str, torch.Tensor]:
    """Return `share` times `start` plus the rest of `trained` (WiSE-FT, Wortsman et al. 2022).

    Both are state dicts of one network. Running statistics are averaged as well; integers are
    those of `trained`.
    """
    return {
        name: torch.lerp(tensor, start[name].to(tensor), share)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in trained.items()
    }


def average_networks(start: Network, trained: Network, share: float) -> Network:
    """Return a copy of a trained network with `share` of the weights of its start."""
    averaged = replace(trained, model=deepcopy(trained.model))
    state = average_states(start.model.state_dict(), trained.model.state_dict(), share)
    averaged.model.load_state_dict(state)
    return averaged
