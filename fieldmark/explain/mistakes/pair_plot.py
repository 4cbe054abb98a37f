"""A figure of each pair of species: photos, the evidence in them, and the field marks."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from fieldmark.evaluation.galleries import show_photo
from fieldmark.explain.mistakes.explanation import Side
from fieldmark.explain.mistakes.positions import average_turned
from fieldmark.plotting import GREEN, create_axes, styled

COLUMNS = 6
FOR, AGAINST = "#C1121F", "#1446A0"  # what speaks for a label, and against it
MAX_OPACITY = 0.8
PER_CENT = "\N{NO-BREAK SPACE}%"
TITLE, TITLE_WIDTH = 9, 28  # points, and characters of a line


@styled
def plot_pair(sides: Sequence[Side]) -> Figure:
    """Plot the photos, the evidence and the field marks of the two species of a pair.

    Two rows each: typical photos and the evidence in the most confused one, then photos with the
    smallest patch that flips the answer, on how far the margin falls under patches there.
    """
    figure, axes = create_axes(12.5, 9, 2 * len(sides), COLUMNS)
    for row, side in enumerate(sides):
        plot_evidence(axes[2 * row], side)
        plot_occlusions(axes[2 * row + 1], side)
    return figure


def plot_evidence(axes: Sequence[Axes], side: Side) -> None:
    """Plot typical photos, the photo that most resembles the other species, and its evidence."""
    photos = side.photos
    for each in axes:
        show_photo(each, np.full_like(photos.pixels[0], 255))
    axes[0].set_ylabel(side.name, size=TITLE + 1, weight="bold")
    for each, pixels in zip(axes[:2], photos.typical_pixels, strict=False):
        show_photo(each, pixels)
        title(each, "typical")
    show_photo(axes[2], photos.pixels[0])
    share = photos.confused.probability[0, photos.other]
    title(axes[2], f"{side.other}: {100 * share:.1f}{PER_CENT}")
    label, other = (photos.compute_evidence(index)[0] for index in (photos.label, photos.other))
    limit = max(np.abs([label, other, label - other]).max(), np.finfo(np.float32).tiny)
    maps = {
        f"for {side.name}": label,
        f"for {side.other}": other,
        "difference of both": label - other,
    }
    for each, (name, evidence) in zip(axes[3:], maps.items(), strict=True):
        overlay(each, photos.pixels[0], evidence, limit)
        title(each, name if evidence.size > 1 else f"{name}: no map")


def plot_occlusions(axes: Sequence[Axes], side: Side) -> None:
    """Plot what covering does to photos, those that small patches flip first, and the mean of all.

    Full red is where the smallest patch takes the whole lead of the answer.
    """
    occlusions, n = side.occlusions, len(side.occlusions)
    for each in axes:
        each.set_axis_off()
    patches = [occlusions.find_patch(row) for row in range(n)]
    order = sorted(range(n), key=lambda row: patches[row].side if patches[row] else np.inf)
    for row, each in zip(order, axes[: COLUMNS - 1], strict=False):
        each.set_axis_on()
        overlay(each, side.pixels[row], occlusions.map_lost_lead(row), 1)
        trained = " (training)" if row >= side.held_out else ""
        title(each, f"no patch flips it{trained}")
        if patch := patches[row]:
            square = Rectangle(patch[:2], patch.side, patch.side, fill=False, color=GREEN, lw=2.5)
            each.add_patch(square)
            title(each, f"{100 * occlusions.area(patch.side):.0f}{PER_CENT} flips it{trained}")
    if n:
        axes[0].set_ylabel("covered", size=TITLE)
        axes[-1].set_axis_on()
        mean = average_turned([occlusions.map_lost_lead(row) for row in range(n)], side.faces)
        overlay(axes[-1], np.full_like(side.pixels[0], 255), mean, np.abs(mean).max() or 1)
        beaks = ", beaks right" if all(side.faces) else ""
        title(axes[-1], f"mean of {n}{beaks}: up to {100 * mean.max():.0f}{PER_CENT}")


def overlay(axes: Axes, pixels: np.ndarray, values: np.ndarray, limit: float) -> None:
    """Draw a signed map [h, w] on a grey photo, uint8 [S, S, 3]; where it is 0, the photo shows."""
    grey = np.repeat(pixels.mean(2, keepdims=True), 3, 2).astype(np.uint8)
    show_photo(axes, grey)
    size = pixels.shape[:2]
    enlarged = np.asarray(Image.fromarray(values.astype(np.float32)).resize(size))
    scaled = (enlarged / limit).clip(-1, 1)[..., None]
    colours = np.where(scaled > 0, to_rgb(FOR), to_rgb(AGAINST))
    axes.imshow(np.concatenate([colours, MAX_OPACITY * np.abs(scaled)], 2))


def title(axes: Axes, text: str) -> None:
    """Write a small title over a photo, in lines as wide as it."""
    axes.set_title(fill(text, TITLE_WIDTH), size=TITLE, loc="center")
