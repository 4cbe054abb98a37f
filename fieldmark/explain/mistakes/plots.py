"""Figures of mistakes: one of each pair of species, and one of accuracy by properties of photos."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter
from PIL import Image

from fieldmark.evaluation.galleries import show_photo
from fieldmark.explain.mistakes.accuracy_by import AccuracyBy
from fieldmark.explain.mistakes.explanation import Side
from fieldmark.explain.mistakes.frame_size import FOUND, MIDDLE, SERVED
from fieldmark.explain.mistakes.positions import average_turned
from fieldmark.plotting import BLUE, GREEN, GREY, ORANGE, create_axes, styled

COLUMNS = 6
FOR, AGAINST = "#C1121F", "#1446A0"  # what speaks for a label, and against it
MAX_OPACITY = 0.8
TITLE, TITLE_WIDTH = 9, 28  # points, and characters of a line
LOOKS = {MIDDLE: (ORANGE, "s"), FOUND: (BLUE, "o"), SERVED: (GREEN, "^")}


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
    title(axes[2], f"{side.other}: {100 * share:.1f} %")
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
            title(each, f"{100 * occlusions.area(patch.side):.0f} % flips it{trained}")
    if n:
        axes[0].set_ylabel("covered", size=TITLE)
        axes[-1].set_axis_on()
        mean = average_turned([occlusions.map_lost_lead(row) for row in range(n)], side.faces)
        overlay(axes[-1], np.full_like(side.pixels[0], 255), mean, np.abs(mean).max() or 1)
        beaks = ", beaks right" if all(side.faces) else ""
        title(axes[-1], f"mean of {n}{beaks}: up to {100 * mean.max():.0f} %")


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


@styled
def plot_accuracy_by(found: AccuracyBy, sizes: pd.DataFrame, overall: float) -> Figure:
    """Plot accuracy by properties of photos, and by the share of the frame that the bird fills.

    `sizes` are the rows of `measure_frame_sizes` and `list_served_sizes`, `overall` is the accuracy
    of all photos. Lines are 95 % Wilson intervals.
    """
    lines = max(len(found.rows) + found.rows["property"].nunique(), 8)
    figure, ((left, right),) = create_axes(12.5, 1.2 + 0.24 * lines, 1, 2, width_ratios=(1.3, 1))
    plot_properties(left, found, overall)
    plot_sizes(right, sizes)
    return figure


def plot_properties(axes: Axes, found: AccuracyBy, overall: float) -> None:
    """Plot the accuracy of each value of each property."""
    p_values = found.trends.set_index("property")["p_holm"]
    ticks, place = [], 0.0
    for name, rows in found.rows.groupby("property", sort=False):
        heading = f"{name} (trend: p = {p_values[name]:.2g})" if name in p_values else str(name)
        ticks.append((place, heading, "bold"))
        for row in rows.itertuples():
            place += 1
            ticks.append((place, f"{row.value}, n = {row.n}", "normal"))
            draw_interval(axes, row, place)
        place += 1.5
    axes.axvline(100 * overall, color=GREY, linewidth=1, linestyle=":")
    lowest = 10 * np.floor(10 * found.rows["low"].min()) if len(found.rows) else 0
    axes.set(ylim=(place - 0.5, -1), xlim=(lowest - 1, 101), xlabel="accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_title(f"Accuracy by properties (dotted: all, {100 * overall:.1f} %)")
    axes.set_yticks([tick for tick, *_ in ticks], [name for _, name, _ in ticks], size=9)
    for text, (*_, weight) in zip(axes.get_yticklabels(), ticks, strict=True):
        text.set_weight(weight)
    axes.tick_params(axis="y", length=0)


def draw_interval(axes: Axes, row: Any, place: float) -> None:
    """Draw a row of an accuracy with its interval, in per cent."""
    axes.plot([100 * row.low, 100 * row.high], [place, place], color=BLUE, linewidth=2, alpha=0.5)
    axes.plot(100 * row.accuracy, place, "o", color=BLUE, markersize=5)


def plot_sizes(axes: Axes, sizes: pd.DataFrame) -> None:
    """Plot the accuracy by the share of the frame."""
    for number, (look, rows) in enumerate(sizes.groupby("look", sort=False)):
        colour, marker = LOOKS[str(look)]
        accuracy = 100 * rows["accuracy"]
        error = [accuracy - 100 * rows["low"], 100 * rows["high"] - accuracy]
        n = "n = " + " to ".join(str(n) for n in sorted({rows["n"].min(), rows["n"].max()}))
        place = rows["share"] * (1 + 0.02 * (number - 1))  # so that intervals do not overlap
        label = f"{look}, {n}"
        axes.errorbar(place, accuracy, error, color=colour, marker=marker, capsize=2, label=label)
    axes.set(xscale="log", xlim=(0.21, 1.15), ylim=(0, 102), ylabel="accuracy, %")
    shares = sorted(sizes.loc[sizes["look"] != SERVED, "share"].unique())
    axes.xaxis.set_major_locator(FixedLocator(shares))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="share of the frame's shorter side", title="Accuracy by size in the frame")
    axes.legend(loc="lower right")
