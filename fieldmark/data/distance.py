"""Show training photos as a finder crops distant birds: smaller, off centre, with less detail."""

import math

import torch
from fastai.vision.all import RandTransform, TensorImage
from torch.nn import functional

FEATHER = 0.02, 0.3  # width of a feathered edge, in sides of the photo
FADE = 0.2, 0.6  # width over which an ellipse fades, in its radius
MIN_ZOOM = 0.5  # of a ground: the smallest part of it that is shown, as a share of its side
MIN_SIDE = 8  # pixels of a photo that loses detail


class Shrink(RandTransform):
    """Shrink and shift a `share` of the photos of a batch, each at random, and fill up the rest.

    The longer side is scaled by `min_scale` to 1, the shorter one by at least `min_aspect` of that:
    many data sets have photos that are squeezed to a square. A photo lies anywhere in its square,
    and up to `max_shift` of the side outside. Around it is a random part of one of the `grounds`,
    uint8 [G, 3, side, side], and its edges are hard, feathered or an ellipse's; without grounds it
    is mirrored at its edges.
    """

    order = 35  # after fastai's coordinate transforms, before those of light

    def __init__(
        self,
        share: float,
        min_scale: float,
        max_shift: float = 0.0,
        min_aspect: float = 1.0,
        grounds: torch.Tensor | None = None,
    ):
        super().__init__(p=1.0)
        self.share, self.min_scale, self.max_shift = share, min_scale, max_shift
        self.min_aspect, self.grounds = min_aspect, grounds
        self.last_input: torch.Tensor | None = None  # the photos of the last batch, not yet shrunk

    def encodes(self, photos: TensorImage) -> TensorImage:
        """Shrink some photos, [n, 3, S, S] with values of 0 to 1."""
        self.last_input = plain = photos.as_subclass(torch.Tensor)
        chosen = torch.rand(len(plain)) < self.share
        if not chosen.any():
            return photos
        changed = plain.clone()
        changed[chosen.to(plain.device)] = self.shrink(plain[chosen.to(plain.device)])
        return TensorImage(changed)

    def shrink(self, photos: torch.Tensor) -> torch.Tensor:
        """Shrink all photos."""
        coordinates = self.draw_coordinates(photos)
        options = {"align_corners": False}
        if self.grounds is None:
            return functional.grid_sample(photos, coordinates, padding_mode="reflection", **options)
        shrunk = functional.grid_sample(photos, coordinates, padding_mode="border", **options)
        ground = functional.grid_sample(
            self.draw_grounds(photos), self.draw_zooms(photos), **options
        )
        return ground.lerp(shrunk, draw_opacity(coordinates)[:, None])

    def draw_coordinates(self, photos: torch.Tensor) -> torch.Tensor:
        """Draw where each pixel comes from, [n, S, S, 2]: from -1 to 1 within the photo."""
        scale = uniform(photos, self.min_scale, 1)
        ratio = uniform(photos, math.log(self.min_aspect), -math.log(self.min_aspect)).exp()
        sides = torch.stack([scale * ratio.clamp(max=1), scale * (1 / ratio).clamp(max=1)], 1)
        reach = 1 - sides + 2 * self.max_shift
        centres = reach * torch.empty_like(sides).uniform_(-1, 1)
        return grid(photos, 1 / sides, -centres / sides)

    def draw_grounds(self, photos: torch.Tensor) -> torch.Tensor:
        """Draw a ground for each photo, [n, 3, side, side]."""
        assert self.grounds is not None  # noqa: S101
        rows = torch.randint(len(self.grounds), (len(photos),))
        return self.grounds[rows].to(photos.device, photos.dtype) / 255

    def draw_zooms(self, photos: torch.Tensor) -> torch.Tensor:
        """Draw which part of each ground is shown, mirrored or not, as coordinates."""
        sides = uniform(photos, MIN_ZOOM, 1)[:, None].repeat(1, 2)
        offsets = (1 - sides) * torch.empty_like(sides).uniform_(-1, 1)
        sides[:, 0] *= 1 - 2 * (uniform(photos, 0, 1) < 0.5).float()
        return grid(photos, sides, offsets)


class LoseDetail(RandTransform):
    """Reduce half of the photos of a batch to `min_resolution` to 1 of their side and enlarge them.

    So looks a bird of few pixels, cut out of a larger photo.
    """

    order = 45  # after light

    def __init__(self, min_resolution: float):
        super().__init__(p=1.0)
        self.min_resolution = min_resolution

    def encodes(self, photos: TensorImage) -> TensorImage:
        """Reduce some photos, [n, 3, S, S] with values of 0 to 1."""
        changed = photos.as_subclass(torch.Tensor).clone()
        size = changed.shape[-1]
        for row in (torch.rand(len(changed)) < 0.5).nonzero()[:, 0].tolist():
            resolution = math.exp(math.log(self.min_resolution) * float(torch.rand(())))
            side = max(MIN_SIDE, round(size * resolution))
            options = {"mode": "bilinear", "antialias": True}
            reduced = functional.interpolate(changed[row : row + 1], (side, side), **options)
            changed[row] = functional.interpolate(reduced, (size, size), **options)[0]
        return TensorImage(changed)


def uniform(photos: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Return a uniform random number for each photo, [n]."""
    return torch.empty(len(photos), device=photos.device, dtype=photos.dtype).uniform_(low, high)


def grid(photos: torch.Tensor, scales: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return coordinates of pixels [n, S, S, 2], scaled and then moved by [n, 2] each."""
    matrices = torch.cat([torch.diag_embed(scales), offsets[..., None]], 2)
    return functional.affine_grid(matrices, list(photos.shape), align_corners=False)


def draw_opacity(coordinates: torch.Tensor) -> torch.Tensor:
    """Return the opacity of photos at coordinates [n, S, S, 2]: 0 outside, to 1 inside, [n, S, S].

    A third of the photos each has hard and feathered edges, or is an ellipse that fades.
    """
    from_edge = 1 - coordinates.abs().amax(3)  # in half sides
    from_ellipse = 1 - coordinates.square().sum(3).sqrt()
    kind = torch.randint(3, (len(coordinates), 1, 1), device=coordinates.device)
    feather, fade = (
        uniform(coordinates, *limits)[:, None, None]
        for limits in ((2 * FEATHER[0], 2 * FEATHER[1]), FADE)
    )
    soft = torch.where(kind == 1, from_edge / feather, from_ellipse / fade)
    return torch.where(kind == 0, (from_edge > 0).to(soft.dtype), soft).clamp(0, 1)
