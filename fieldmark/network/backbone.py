"""Adapt any timm network to feature maps [N, D, h, w] whose mean is its own feature vector."""

from itertools import product
from math import isqrt
from typing import Any

import timm
import torch
from torch import nn

from fieldmark.errors import NetworkError

LAYOUTS = ("NCHW", "NHWC", "NLC")  # as timm names them: maps, maps with channels last, tokens
NORMS = ("fc_norm", "head.norm")  # where timm keeps a layer norm that follows the mean


class Backbone(nn.Module):
    """A timm network without its classifier, as feature maps [N, D, h, w].

    The layout of its features is measured, not looked up: features of noise are read in each layout
    until their mean equals the vector that timm's own classifier would get. Where none does (class
    token, attention pooling, layers after the mean) no map explains the logits exactly, and the
    backbone gives that vector as [N, D, 1, 1]: pretrained layers are not cut off for a map.

    `model` is created with num_classes=0, `size` is the side of its photos in pixels. `width` is D,
    `map_size` the map's height and width, None where there is no map. Raises NetworkError for a
    size that the network does not accept.
    """

    def __init__(self, model: nn.Module, size: int):
        super().__init__()
        self.model, self.size = model.eval(), size
        # a generator of its own: the head that follows is initialised from torch's global one
        photo = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                features = model.forward_features(photo)
                vector = model.forward_head(features)
        except (AssertionError, RuntimeError) as error:
            raise NetworkError(
                f"{model.default_cfg['architecture']} does not accept photos of {size} pixels "
                f"({error}). Set `size: 0` for its default size, or another size."
            ) from error
        self.width, self.map_size = vector.shape[1], None
        self.layout, self.norm = self.find_layout(features, vector)
        if self.layout:
            height, width = self.to_map(features, self.layout, self.norm).shape[2:]
            self.map_size = {"height": height, "width": width}
        model.train()

    def find_layout(self, features: Any, vector: torch.Tensor) -> tuple[str | None, str | None]:
        """Return the layout in which features are a map with the mean `vector`, and its norm.

        A map of 1 x 1 has no positions and counts as none.
        """
        modules = dict(self.model.named_modules())
        norms = [name for name in NORMS if isinstance(modules.get(name), nn.LayerNorm)]
        for layout, norm in product(LAYOUTS, [None, *norms]):
            maps = self.to_map(features, layout, norm)
            if maps is None or maps[0, 0].numel() == 1:
                continue
            tolerance = 1e-4 * float(vector.abs().max())
            if torch.allclose(maps.mean((2, 3)), vector, rtol=1e-3, atol=tolerance):
                return layout, norm
        return None, None

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the map [N, D, h, w] of photos [N, 3, S, S], or the vector as [N, D, 1, 1]."""
        if not self.layout:
            return self.model(photos)[..., None, None]
        return self.to_map(self.model.forward_features(photos), self.layout, self.norm)

    def to_map(self, features: Any, layout: str, norm: str | None) -> Any:
        """Return features in a layout as a map [N, D, h, w]; None if their shape does not fit."""
        if not isinstance(features, torch.Tensor) or features.ndim != len(layout):
            return None
        if layout == "NHWC":
            features = features.permute(0, 3, 1, 2)
        if layout == "NLC":
            patches = features[:, getattr(self.model, "num_prefix_tokens", 0) :]
            side = isqrt(patches.shape[1])  # photos are square, and so is the grid of patches
            if side**2 != patches.shape[1]:
                return None
            features = patches.transpose(1, 2).unflatten(2, (side, side))
        if features.shape[1] != self.width:
            return None
        return normalize_map(features, self.model.get_submodule(norm)) if norm else features


def normalize_map(maps: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Apply a layer norm that follows the mean to each position of a map [N, D, h, w] instead.

    Every position is divided by the standard deviation of the mean, none by its own, so that the
    mean of the result equals the norm of the mean.
    """
    maps = maps.float()  # as torch's own layer norm computes under autocast
    variance = maps.mean((2, 3), keepdim=True).var(1, correction=0, keepdim=True)
    maps = (maps - maps.mean(1, keepdim=True)) * (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        maps = maps * norm.weight[:, None, None]
    return maps if norm.bias is None else maps + norm.bias[:, None, None]


def timm_options(arch: str, size: int, **arch_options: Any) -> dict[str, Any]:
    """Return the keyword arguments of timm.create_model for an architecture and a size in pixels.

    Networks with a fixed input size need `img_size`. The `mean` and `std` among a recipe's
    `arch_options` belong to the preparation and are left out.
    """
    fixed = {"img_size": size} if timm.get_pretrained_cfg(arch).fixed_input_size else {}
    return fixed | {k: value for k, value in arch_options.items() if k not in ("mean", "std")}
