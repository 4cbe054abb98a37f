"""The feature maps of one photo, stage by stage."""

import numpy as np
import torch
from matplotlib.figure import Figure

from fieldmark.evaluation.galleries import show_photo
from fieldmark.explain.features.samples import to_images
from fieldmark.explain.features.stages import NO_MAPS, Stages
from fieldmark.plotting import create_axes, plot_sentence, styled


def compute_maps(stages: Stages, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the maps [D, h, w] of each stage for one photo, uint8 [S, S, 3]."""
    with torch.no_grad():
        features = stages(to_images(pixels[None]).to(stages.mean.device))
    return {name: features[name][0].float().cpu().numpy() for name in stages.channels}


def strongest_channels(maps: np.ndarray, count: int) -> np.ndarray:
    """Return the channels of maps [D, h, w] that vary most over positions, strongest first."""
    return np.argsort(-maps.var((1, 2)), kind="stable")[:count]


@styled
def plot_feature_maps(stages: Stages, pixels: np.ndarray, count: int = 6) -> Figure:
    """Show a photo, uint8 [S, S, 3], and the strongest maps of each stage, a row each.

    Each map has its own range of colours, dark for its lowest value.
    """
    maps = compute_maps(stages, pixels)
    if not maps:
        return plot_sentence(NO_MAPS)
    figure, axes = create_axes(1.5 * (count + 1), 1.75 * len(maps), len(maps), count + 1)
    for each in axes.flat:
        each.set_axis_off()
    show_photo(axes[0, 0], pixels)
    axes[0, 0].set_axis_on()
    for row, (name, found) in zip(axes, maps.items(), strict=True):
        channels, height, width = found.shape
        text = f"{channels:,} channels\nof {height} x {width}"
        if row[0] is axes[0, 0]:
            row[0].set_title(f"{name}: {text}", size=8)
        else:
            text = f"{name}\n{text}"
            row[0].text(0.95, 0.5, text, ha="right", va="center", transform=row[0].transAxes)
        for cell, index in zip(row[1:], strongest_channels(found, count), strict=False):
            cell.imshow(found[index], cmap="magma")
            cell.set_title(f"channel {index}", size=8, loc="center")
    return figure
