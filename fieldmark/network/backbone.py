"""timm's networks as bodies: whatever one ends in, the head gets a map, or a vector that is one."""

from itertools import product
from math import isqrt

import timm
import torch
from torch import nn

from fieldmark.errors import UserError

LAYOUTS = ("NCHW", "NHWC", "NLC")  # as timm calls them: maps, maps with channels last, tokens
NORMS = ("fc_norm", "head.norm")  # where timm keeps a norm that comes after the mean


class BodyError(UserError):
    """A network that can't look at photos of a size; the text says what to change."""


class Body(nn.Module):
    """A timm network that ends in a map [N, D, h, w], the mean of which is the network's answer.

    How it ends is not looked up but measured: for a photo of noise, the features are read in each
    layout until their mean is the vector that timm's own classifier would get. Where none is (a
    class token, attention pooling, layers after the mean) no map explains the answer exactly; then
    the body gives that vector as [N, D, 1, 1], since what was pretrained is not cut off for a map.

    `model` is made with num_classes=0, `size` is the side of its photos in pixels. `width` is D,
    `map_size` the map's height and width, None where there is no map. Raises BodyError for a size
    that the network can't take.
    """

    def __init__(self, model: nn.Module, size: int):
        super().__init__()
        self.model, self.size = model.eval(), size
        # torch's own chance stays as it is, so that a seed draws the head that it always drew
        photo = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                features = model.forward_features(photo)
                answer = model.forward_head(features)
        except (AssertionError, RuntimeError) as error:
            raise BodyError(
                f"{model.default_cfg['architecture']} can't look at photos of {size} pixels "
                f"({error}). Set `size: 0`, which takes its own, or another size."
            ) from error
        self.width, self.map_size = answer.shape[1], None
        self.layout, self.norm = self.found(features, answer)
        if self.layout:
            height, width = self.places(features, self.layout, self.norm).shape[2:]
            self.map_size = {"height": height, "width": width}
        model.train()

    def found(self, features, answer: torch.Tensor) -> tuple[str | None, str | None]:
        """Return how features are read as a map with the mean `answer`: layout, and norm if any.

        A map of one place says nothing of where, and counts as none.
        """
        known = dict(self.model.named_modules())
        norms = [name for name in NORMS if isinstance(known.get(name), nn.LayerNorm)]
        for layout, norm in product(LAYOUTS, [None, *norms]):
            places = self.places(features, layout, norm)
            if places is None or places[0, 0].numel() == 1:
                continue
            near = 1e-4 * float(answer.abs().max())
            if torch.allclose(places.mean((2, 3)), answer, rtol=1e-3, atol=near):
                return layout, norm
        return None, None

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the map [N, D, h, w] of photos [N, 3, S, S], or the vector as [N, D, 1, 1]."""
        if not self.layout:
            return self.model(photos)[..., None, None]
        return self.places(self.model.forward_features(photos), self.layout, self.norm)

    def places(self, features, layout: str, norm: str | None) -> torch.Tensor | None:
        """Read features as a map [N, D, h, w]; None where they can't be one in that layout."""
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
        return normed(features, self.model.get_submodule(norm)) if norm else features


def normed(places: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Apply a layer norm that comes after the mean to each place of a map [N, D, h, w] instead.

    All places are divided by the deviation of their mean, none by its own, so that the mean of what
    comes out is the norm of the mean: the answer is as it was pretrained, and its map is exact.
    """
    places = places.float()  # in mixed precision too, as torch's own
    variance = places.mean((2, 3), keepdim=True).var(1, correction=0, keepdim=True)
    places = (places - places.mean(1, keepdim=True)) * (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        places = places * norm.weight[:, None, None]
    return places if norm.bias is None else places + norm.bias[:, None, None]


def between(mean, std, other_mean, other_std) -> tuple[torch.Tensor, torch.Tensor]:
    """Return by what photos are multiplied, and what is added, to be normalised by others instead.

    All are tensors that broadcast: mean and standard deviation by channel, as they were and as they
    shall be.
    """
    return std / other_std, (mean - other_mean) / other_std


def sized(arch: str, size: int, **options) -> dict:
    """Return what timm must be told: the photos' size, by networks made for one, and `options`.

    A recipe's `mean` and `std` are among its options; the network itself doesn't know them.
    """
    fixed = {"img_size": size} if timm.get_pretrained_cfg(arch).fixed_input_size else {}
    return fixed | {key: value for key, value in options.items() if key not in ("mean", "std")}
