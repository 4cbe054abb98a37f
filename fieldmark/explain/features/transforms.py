"""Random views of images, under which a synthetic image has to keep its effect."""

import torch
from torch.nn import functional

DEGREES = 15.0  # largest rotation to either side
SCALES = (0.7, 1.3)  # smallest and largest magnification
JITTER = 0.15  # largest shift, as a share of the side
PADDING = 0.08  # border around the image, as a share of the side
NOISE = 0.05  # standard deviation of noise in pixels between 0 and 1


def random_views(
    images: torch.Tensor, random: torch.Generator, strength: float = 1.0
) -> torch.Tensor:
    """Return a random view of each image [N, 3, S, S]: padded, with noise, turned and shifted.

    Patterns that only work at one position or with faint contrast, such as the noise to which
    convolutions with strides respond, cancel out (Olah, Mordvintsev and Schubert 2017, Feature
    Visualization). `strength` multiplies all ranges: 0 leaves images as they are.
    """
    views = add_noise(pad(images, strength * PADDING), random, strength * NOISE)
    scales = (1 + strength * (scale - 1) for scale in SCALES)
    return random_affine(views, random, strength * DEGREES, tuple(scales), strength * JITTER)


def pad(images: torch.Tensor, share: float) -> torch.Tensor:
    """Surround images by a grey border, `share` of their side on each side."""
    border = round(share * images.shape[-1])
    return functional.pad(images, [border] * 4, value=0.5)


def add_noise(images: torch.Tensor, random: torch.Generator, amount: float) -> torch.Tensor:
    """Add normal noise to images."""
    return images + amount * torch.randn(images.shape, generator=random).to(images.device)


def random_affine(
    images: torch.Tensor,
    random: torch.Generator,
    degrees: float,
    scales: tuple[float, ...],
    jitter: float,
) -> torch.Tensor:
    """Rotate, scale and shift each image at random, in one interpolation.

    An image turns by up to `degrees` to either side and moves by up to `jitter` of its side. What
    lies beyond its edges is mirrored.
    """
    count, (smallest, largest) = len(images), scales
    angle, scale, *shift = torch.rand((4, count), generator=random)
    angle = torch.deg2rad((2 * angle - 1) * degrees)
    scale = 1 / (smallest + scale * (largest - smallest))
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    x, y = ((2 * value - 1) * 2 * jitter for value in shift)  # in a grid the side is 2 long
    matrix = torch.stack([cosine, -sine, x, sine, cosine, y], 1).view(count, 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid.to(images.device), padding_mode="reflection", align_corners=False
    )
