"""The parts that a network sees in one photo: its features factorised, and each factor's image.

As the spatial activation grids of Olah et al. (2018), "The Building Blocks of Interpretability".
"""

import warnings

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from torch.nn import functional

from fieldmark.evaluation.galleries import show_photo
from fieldmark.plotting import BLUE, GREEN, ORANGE, PURPLE, RED, SKY, create_axes, styled

COLOURS = (ORANGE, BLUE, GREEN, RED, PURPLE, SKY)


def factorise_maps(
    maps: np.ndarray, components: int = len(COLOURS), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Factorise maps [D, h, w] into strengths [K, h, w] and directions [K, D], none negative.

    Non-negative matrix factorisation (Lee and Seung 1999) of the maps' positive part: each position
    is a sum of K directions of features. K is at most D and the number of positions. The strongest
    direction comes first; a strength of 1 is the maximum of its component.
    """
    positions = maps.reshape(len(maps), -1).clip(0).T.astype(np.float64)
    components = min(components, *positions.shape)
    model = NMF(components, init="nndsvda", max_iter=400, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an approximation is enough to see
        weights = model.fit_transform(positions)
    norms = np.linalg.norm(model.components_, axis=1)
    order = np.argsort(-weights.sum(0) * norms, kind="stable")
    strengths = weights.T[order].reshape(-1, *maps.shape[1:])
    peaks = strengths.max((1, 2), keepdims=True)
    return strengths / np.where(peaks > 0, peaks, 1), model.components_[order]


def enlarge(strengths: np.ndarray, size: int) -> np.ndarray:
    """Return strengths [K, h, w] as [K, size, size], interpolated."""
    maps = torch.from_numpy(strengths)[None].float()
    large = functional.interpolate(maps, size=(size, size), mode="bicubic", align_corners=False)
    return large[0].clamp(0, 1).numpy()


def overlay(pixels: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Colour a photo, uint8 [S, S, 3], by its strongest component at each position."""
    large = enlarge(strengths, pixels.shape[0])
    colours = np.array([to_rgb(colour) for colour in COLOURS])[np.arange(len(large)) % len(COLOURS)]
    best = large.argmax(0)
    share = 0.6 * large.max(0)[..., None]
    grey = pixels.mean(2, keepdims=True) / 255
    return (255 * ((1 - share) * grey + share * colours[best])).round().astype(np.uint8)


@styled
def plot_grid(pixels: np.ndarray, strengths: np.ndarray, images: np.ndarray) -> Figure:
    """Show a photo, its components in colour, and for each where it is and what it looks like.

    `images` are the synthetic images of the components' directions, uint8 [K, size, size, 3].
    """
    count = len(strengths)
    figure, axes = create_axes(1.7 * (count + 1), 3.9, 2, count + 1)
    show_photo(axes[0, 0], pixels)
    show_photo(axes[1, 0], overlay(pixels, strengths))
    large = enlarge(strengths, pixels.shape[0])
    for index, (upper, lower) in enumerate(axes[:, 1:].T):
        colour = COLOURS[index % len(COLOURS)]
        shade = 0.15 + 0.85 * large[index][..., None]
        show_photo(upper, (pixels * shade).round().astype(np.uint8))
        show_photo(lower, images[index])
        upper.set_title(f"part {index + 1}", color=colour, loc="center")
        for each in (upper, lower):
            each.spines[:].set(visible=True, color=colour, linewidth=3)
    return figure
