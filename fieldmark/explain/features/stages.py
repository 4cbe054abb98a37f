"""The feature maps of a network's stages, whatever its architecture, with their gradients."""

from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fieldmark.explain.label_logits import LabelLogits
from fieldmark.network.network import Network

LOGITS = "logits"
NO_MAPS = "This network has no feature maps with positions, so there are no channels to show."


class Stages(nn.Module):
    """A network as a module from images to the feature maps of its stages and its logits.

    Images are [N, 3, S, S] between 0 and 1; each map is [N, D, h, w]. `channels` maps the name of
    each stage that has positions, `stage 1` and so on, to its D; it is empty for a network without
    maps. The stages are those that timm lists, or else the children of timm's model, and the output
    of the backbone. Networks that accept one size only get images resized to it.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.logits = LabelLogits(network).to(memory_format=torch.channels_last)
        self.size = network.preparation.size
        mean, std = network.preparation.statistics(device=network.device)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.outputs: dict[str, Any] = {}
        self.sizes: dict[int, bool] = {}
        for name, module in list_stages(self.logits.backbone).items():
            module.register_forward_hook(partial(self.keep_output, name))
        self.channels = self.find_stages()

    def keep_output(self, name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        """Keep the output of a stage until the forward pass ends."""
        self.outputs[name] = output

    def find_stages(self) -> dict[str, int]:
        """Return the channels of each stage whose output is a map with positions."""
        with torch.no_grad():
            noise = torch.rand(1, 3, self.size, self.size, device=self.mean.device)
            self.logits((noise - self.mean) / self.std)
        self.places: list[str] = []
        last = None
        for place, output in self.outputs.items():
            maps = to_map(output)
            if maps is None or maps[0, 0].numel() == 1:
                continue
            if last is None or maps.shape != last.shape or not torch.equal(maps, last):
                self.places.append(place)
                last = maps
        maps = (to_map(self.outputs[place]) for place in self.places)
        return {f"stage {i}": each.shape[1] for i, each in enumerate(maps, 1) if each is not None}

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the maps by name of stage, and `logits` [N, C]."""
        photos = self.resize((images - self.mean) / self.std)
        photos = photos.contiguous(memory_format=torch.channels_last)  # a fifth faster on a CPU
        logits = self.logits(photos)
        maps = (to_map(self.outputs[place]) for place in self.places)
        pairs = zip(self.channels, maps, strict=True)
        named = {name: each for name, each in pairs if each is not None}
        self.outputs.clear()
        return named | {LOGITS: logits}

    def resize(self, photos: torch.Tensor) -> torch.Tensor:
        """Resize photos to the network's size, unless it accepts theirs."""
        size = photos.shape[-1]
        if size not in self.sizes:
            try:
                with torch.no_grad():
                    self.logits(photos[:1])
                self.sizes[size] = True
            except (AssertionError, RuntimeError):
                self.sizes[size] = False
        if self.sizes[size]:
            return photos
        return functional.interpolate(photos, size=(self.size, self.size), mode="bilinear")


def list_stages(backbone: nn.Module) -> dict[str, nn.Module]:
    """Return the modules after which a backbone is observed; of joined backbones, the first's."""
    bodies = getattr(backbone, "bodies", None)
    model = bodies[0].model if bodies else backbone.model
    listed = [info["module"] for info in getattr(model, "feature_info", None) or []]
    modules = dict(model.named_modules())
    stages = {name: modules[name] for name in listed if name in modules}
    return (stages or dict(model.named_children())) | {"backbone": backbone}


def to_map(output: Any) -> torch.Tensor | None:
    """Return the output of a module as a map [N, D, h, w] of a square photo; None if it is none.

    Maps with channels last are turned; of tokens, those before the square number are left out.
    """
    if not isinstance(output, torch.Tensor) or output.ndim not in (3, 4):
        return None
    if output.ndim == 3:
        side = isqrt(output.shape[1])
        output = output[:, -(side**2) :].unflatten(1, (side, side))
        return output.permute(0, 3, 1, 2)
    return output if output.shape[2] == output.shape[3] else output.permute(0, 3, 1, 2)
