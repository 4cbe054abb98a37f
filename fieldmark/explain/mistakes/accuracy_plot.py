"""A figure of accuracy by properties of photos, and by the size of the bird in the frame."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter

from fieldmark.explain.mistakes.accuracy_by import AccuracyBy
from fieldmark.explain.mistakes.frame_size import FOUND, MIDDLE, SERVED
from fieldmark.plotting import BLUE, GREEN, GREY, ORANGE, create_axes, styled

LOOKS = {MIDDLE: (ORANGE, "s"), FOUND: (BLUE, "o"), SERVED: (GREEN, "^")}


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
    axes.legend(loc="best")
