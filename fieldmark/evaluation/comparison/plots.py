"""Figures that compare runs."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from fieldmark.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, create_axes, styled

COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, "black")
DASHES = ("-", "--", ":", "-.")
MAX_SPECIES = 20  # in a figure
LOG_RATIO = 8  # of the longest time to the shortest, above which the axis is logarithmic


def is_pareto_optimal(table: pd.DataFrame) -> pd.Series:
    """Return whether no run of the same task is at least as accurate and fast, and better in one.

    `table` has `accuracy`, `ms` and `task`.
    """
    accuracy, ms, task = (table[name].to_numpy() for name in ("accuracy", "ms", "task"))
    as_good = (accuracy >= accuracy[:, None]) & (ms <= ms[:, None])
    better = (accuracy > accuracy[:, None]) | (ms < ms[:, None])
    return pd.Series(~(as_good & better & (task == task[:, None])).any(1), table.index)


@styled
def plot_pareto(table: pd.DataFrame) -> Figure:
    """Plot accuracy against milliseconds, both with intervals, and the Pareto front of each task.

    `table` is that of `summarise_runs`.
    """
    figure, ((axes,),) = create_axes(9, max(4.6, 1 + 0.28 * len(table)))
    optimal = is_pareto_optimal(table)
    tasks = table.groupby("task", sort=False)
    for (task, runs), colour in zip(tasks, cycle(COLOURS), strict=False):
        label = f"{task}: {len(runs)} run{'s' if len(runs) > 1 else ''}"
        for is_front, rows in runs.groupby(optimal):
            bars = {"yerr": 100 * error_bars(rows, "accuracy"), "xerr": error_bars(rows, "ms")}
            style = {"fmt": "o", "color": colour, "elinewidth": 1}
            style |= {"label": label} if is_front else {"markerfacecolor": "white"}
            axes.errorbar(rows["ms"], 100 * rows["accuracy"], **bars, **style)
        front = runs[optimal[runs.index]].sort_values("ms")
        axes.step(front["ms"], 100 * front["accuracy"], where="post", color=colour, alpha=0.5)
    low, high = table["ms_low"].min(), table["ms_high"].max()
    scale_time_axis(axes, low, high, logarithmic=high > LOG_RATIO * low)
    gap = 0.2 / (figure.get_figheight() - 1.5)  # inches over the height of the axes, roughly
    annotate_points(axes, table["run"], table["ms"], 100 * table["accuracy"], gap)
    axes.set(xlabel="milliseconds per photo, one thread", ylabel="accuracy, %")
    axes.set_title("Accuracy and speed. Filled: on the Pareto front. Bars: 95 %")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def error_bars(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return the distances of an interval's ends from its value, [2, n]."""
    value, low, high = table.filter(regex=f"^{name}").to_numpy(float).T
    return np.maximum([value - low, high - value], 0)


def scale_time_axis(axes: Axes, low: float, high: float, logarithmic: bool) -> None:
    """Scale the x axis from 0 to `high`, or logarithmically from `low` to `high`."""
    if not logarithmic:
        axes.set_xlim(0, 1.05 * high)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlim(low / 1.2, 1.2 * high)


def annotate_points(axes: Axes, names: pd.Series, x: pd.Series, y: pd.Series, gap: float) -> None:
    """Write names in a column to the right, `gap` axes heights apart, and lines to their points."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    heights = spread_out((y.to_numpy() - low) / (high - low), gap)
    line = {"arrowstyle": "-", "color": "#BBBBBB", "lw": 0.8, "shrinkB": 4, "relpos": (0, 0.5)}
    for name, left, top, height in zip(names, x, y, heights, strict=True):
        place = (left, top), (1.04, height), "data", "axes fraction"
        axes.annotate(name, *place, line, va="center")


def spread_out(heights: np.ndarray, gap: float) -> np.ndarray:
    """Move heights [n] apart, keeping their order, until neighbours differ by `gap`; at most 1."""
    order, steps = heights.argsort(kind="stable"), gap * np.arange(len(heights))
    moved = np.maximum.accumulate(heights[order] - steps) + steps
    return np.minimum(moved, 1 - steps[::-1])[order.argsort()]


@styled
def plot_curves(histories: dict[str, pd.DataFrame]) -> Figure:
    """Plot losses and accuracy of each run, by epoch and by seconds of training.

    Histories are as in Run.history. A ring marks the epoch that was kept, a tick the start of the
    next phase.
    """
    figure, rows = create_axes(12, 10, 3, 2, sharey="row", sharex="col")
    styles = [{"color": colour, "linestyle": dash} for dash in DASHES for colour in COLOURS]
    seconds = {name: history["seconds"].cumsum().to_numpy() for name, history in histories.items()}
    for (name, history), style in zip(histories.items(), cycle(styles), strict=False):
        phase = history["phase"].to_numpy()
        starts = np.flatnonzero(phase[1:] != phase[:-1]) + 1
        last_phase = np.flatnonzero(phase == phase[-1])
        loss = history["log_loss" if "log_loss" in history else "valid_loss"].to_numpy()
        kept = last_phase[loss[last_phase].argmin()]
        values = history[["train_loss", "valid_loss", "accuracy"]].to_numpy(float) * (1, 1, 100)
        for column, x in enumerate((np.arange(1, len(history) + 1), seconds[name])):
            for axes, y in zip(rows[:, column], values.T, strict=True):
                axes.plot(x, y, label=name, **style)
                axes.plot(x[starts], y[starts], "|", color=style["color"], markersize=10)
                axes.plot(x[kept], y[kept], "o", color=style["color"], ms=9, fillstyle="none")
    labels = ("training loss, nats", "validation loss, nats", "validation accuracy, %")
    for axes, label in zip(rows[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    rows[2, 0].set(xlabel="epoch")
    rows[2, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    starts, ends = (np.array([elapsed[at] for elapsed in seconds.values()]) for at in (0, -1))
    low, high = max(starts.min(), 0.1), max(ends.max(), 0.1)
    scale_time_axis(rows[2, 1], low, high, logarithmic=high > LOG_RATIO * ends.min())
    rows[2, 1].set(xlabel="seconds of training, evaluation included")
    rows[0, 0].set_title("Training curves. Ring: kept epoch. Tick: next phase")
    figure.legend(*rows[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


@styled
def plot_class_differences(classes: pd.DataFrame, first: str, second: str) -> Figure:
    """Plot the recall of the species that differ most between two runs; at least one must.

    `classes` is that of `compare_classes`.
    """
    different = classes[classes["points"].abs() > 0]
    order = {"by": ["points", "label"], "ascending": [False, True]}
    shown = different.head(MAX_SPECIES).sort_values(**order)
    figure, ((axes,),) = create_axes(9, 2 + 0.28 * len(shown))
    heights = np.arange(len(shown))
    recalls = 100 * shown["recall_first"], 100 * shown["recall_second"]
    axes.hlines(heights, np.minimum(*recalls), np.maximum(*recalls), color=GREY, linewidth=1)
    for recall, name, colour in zip(recalls, (first, second), (BLUE, ORANGE), strict=True):
        axes.plot(recall, heights, "o", color=colour, label=name)
    labels = [f"{label} ({n})" for label, n in zip(shown["label"], shown["n"], strict=True)]
    axes.set_yticks(heights, labels)
    axes.set(xlabel="recall, % (in brackets: number of photos)", xlim=(-3, 103))
    axes.set_ylim(len(shown) - 0.5, -0.5)
    limit = f"; the {MAX_SPECIES} largest differences" if len(different) > MAX_SPECIES else ""
    axes.set_title(f"{len(different)} of {len(classes)} species differ{limit}")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
