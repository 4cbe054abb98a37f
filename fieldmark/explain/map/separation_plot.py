"""A figure of the most isolated and the most overlapping species, with photos of them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fieldmark.evaluation.galleries import show_photo
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.map.thumbnails import make_thumbnails
from fieldmark.plotting import BLUE, GREY, ORANGE, styled

SHOWN = 3  # photos of a species


@styled
def plot_overlap(
    explained: ExplainedRun, before: pd.DataFrame, after: pd.DataFrame, count: int = 8
) -> Figure:
    """Plot the overlap of the `count` most isolated and most overlapping species.

    `before` and `after` are tables of `measure_overlap`, before and after training; the first one
    chooses and orders the species. Beside each are photos of it and, where it overlaps, of the
    species that it is most often taken for.
    """
    if len(before) > 2 * count:
        before = pd.concat([before.head(count), before.tail(count)])
    shown = before.reset_index(drop=True)
    figure = Figure(figsize=(11.5, 1.2 + 0.7 * len(shown)), layout="constrained")
    grid = figure.add_gridspec(len(shown), 3, width_ratios=(5, 2, 2))
    axes = figure.add_subplot(grid[:, 0])
    draw_overlap(axes, shown, after)
    for position, row in enumerate(shown.itertuples()):
        for column, label in ((1, row.label), (2, row.other)):
            strip = figure.add_subplot(grid[position, column])
            if label:
                show_photo(strip, show_species(explained, label))
            else:
                strip.set_axis_off()
            if column == 2 and label:
                strip.set_title(f"{label}: {row.with_other} of {row.n}", size=7, pad=2)
    return figure


def draw_overlap(axes, shown: pd.DataFrame, after: pd.DataFrame) -> None:
    """Draw shares with their intervals, one species a row."""
    heights = np.arange(len(shown))
    later = after.set_index("label").reindex(shown["label"])
    series = (
        (shown, f"before training, n = {describe(shown['n'])} a species", ORANGE, -0.12),
        (later, f"after training, n = {describe(later['n'])}", BLUE, 0.12),
    )
    for table, name, colour, shift in series:
        values, low, high = (100 * table[key].to_numpy(float) for key in ("overlap", "low", "high"))
        axes.hlines(heights + shift, low, high, color=colour, linewidth=1.5)
        axes.plot(values, heights + shift, "o", color=colour, label=name)
    axes.set_yticks(heights, shown["label"])
    axes.set(xlim=(-3, 103), ylim=(len(shown) - 0.5, -0.5))
    axes.set(xlabel="photos whose nearest photos are of another species, %")
    if len(shown) > 3:
        axes.axhline((len(shown) - 1) / 2, color=GREY, linewidth=0.8, linestyle=":")
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def describe(counts: pd.Series) -> str:
    """Return the range of numbers of photos."""
    low, high = counts.min(), counts.max()
    if pd.isna(low):
        return "0"
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def show_species(explained: ExplainedRun, label: str) -> np.ndarray:
    """Return photos of a species side by side, uint8 [S, SHOWN S, 3]."""
    rows = np.flatnonzero(explained.photos["label"] == label)[:SHOWN]
    photos = list(make_thumbnails(explained, rows, 96))
    photos += [np.full_like(photos[0], 255)] * (SHOWN - len(photos))
    return np.concatenate(photos, axis=1)
