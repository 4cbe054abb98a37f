"""Figures that put runs side by side."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from fieldmark.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, panels, styled

COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, "black")
DASHES = ("-", "--", ":", "-.")
PALE = "#BBBBBB"
MOST = 20  # species in a figure
FAR = 8  # times as long makes a scale logarithmic


def front(table: pd.DataFrame) -> pd.Series:
    """Tell of each run whether none is as right and as fast, and better in one: Pareto's front.

    `table` has `accuracy`, `ms`, and the `task`: only runs of one task are set against each other.
    """
    right, slow, task = (table[name].to_numpy() for name in ("accuracy", "ms", "task"))
    as_good = (right[None] >= right[:, None]) & (slow[None] <= slow[:, None])
    better = (right[None] > right[:, None]) | (slow[None] < slow[:, None])
    beaten = (as_good & better & (task[None] == task[:, None])).any(1)
    return pd.Series(~beaten, table.index)


@styled
def pareto(table: pd.DataFrame) -> Figure:
    """Plot accuracy against milliseconds, both with intervals, and each task's Pareto front.

    `table` has a row a run: `run`, `task`, and `accuracy`, `ms` with `_low` and `_high`.
    """
    figure, ((axes,),) = panels(9, max(4.6, 1 + 0.28 * len(table)))
    best = front(table)
    for (task, runs), colour in zip(table.groupby("task", sort=False), cycle(), strict=False):
        name = f"{task}: {len(runs)} run{'s' if len(runs) > 1 else ''}"
        for chosen, fill in ((best, colour), (~best, "white")):
            members = runs[chosen[runs.index]]
            axes.errorbar(
                members["ms"],
                100 * members["accuracy"],
                yerr=100 * reach(members, "accuracy"),
                xerr=reach(members, "ms"),
                fmt="o",
                color=colour,
                markerfacecolor=fill,
                elinewidth=1,
                label=name if fill == colour else None,
            )
        line = runs[best[runs.index]].sort_values("ms")
        axes.step(line["ms"], 100 * line["accuracy"], where="post", color=colour, alpha=0.5)
    low, high = table["ms_low"].min(), table["ms_high"].max()
    scale(axes, low, high, far=high > FAR * low)
    name_points(axes, table["run"], table["ms"], 100 * table["accuracy"])
    axes.set(xlabel="milliseconds a photo, one at a time on one thread", ylabel="right, %")
    axes.set_title("Filled: on the Pareto front. Bars: 95 % intervals, 95 of 100 times")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def cycle():
    """Give colours without end."""
    while True:
        yield from COLOURS


def reach(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return how far an interval reaches below and above its value, [2, n]."""
    value = table[name]
    ends = [value - table[f"{name}_low"], table[f"{name}_high"] - value]
    return np.maximum(np.array(ends, float), 0)


def scale(axes: Axes, low: float, high: float, far: bool) -> None:
    """Draw milliseconds or seconds from 0, or to a logarithmic scale where they are far apart."""
    if not far:
        axes.set_xlim(0, 1.05 * high)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(low / 1.2, 1.2 * high)


def name_points(axes: Axes, names: pd.Series, x: pd.Series, y: pd.Series) -> None:
    """Write names in a column at the right, each with a line to its point, so that none overlap."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    inches = axes.figure.get_figheight() - 1.5  # of the axes, about
    places = apart((y.to_numpy() - low) / (high - low), 0.2 / inches)
    for name, *point, place in zip(names, x, y, places, strict=True):
        axes.annotate(
            name,
            point,
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.8, "shrinkB": 4}
            | {"relpos": (0, 0.5)},
        )


def apart(places: np.ndarray, gap: float) -> np.ndarray:
    """Move places [n] apart, in their order, until each is `gap` from the next, at 1 at most."""
    order, moved = places.argsort(kind="stable"), np.sort(places)
    for above in range(1, len(moved)):
        moved[above] = max(moved[above], moved[above - 1] + gap)
    moved[-1:] = np.minimum(moved[-1:], 1)
    for below in range(len(moved) - 2, -1, -1):
        moved[below] = min(moved[below], moved[below + 1] - gap)
    found = np.empty(len(moved))
    found[order] = moved
    return found


@styled
def curves(histories: dict[str, pd.DataFrame]) -> Figure:
    """Plot losses and accuracy of each run by epoch, and by the seconds of its epochs.

    Each history has a row an epoch: `stage`, `train_loss`, `valid_loss` and `accuracy` (of
    `valid`), `seconds`. A ring is around the epoch that was kept, a tick where
    another stage begins.
    """
    figure, rows = panels(12, 10, 3, 2, sharey="row", sharex="col")
    looks = [{"color": colour, "linestyle": dash} for dash in DASHES for colour in COLOURS]
    spent = {name: each["seconds"].cumsum().to_numpy() for name, each in histories.items()}
    for place, (name, history) in enumerate(histories.items()):
        look, stage = looks[place % len(looks)], history["stage"].to_numpy()
        starts = np.flatnonzero(stage[1:] != stage[:-1]) + 1
        last = np.flatnonzero(stage == stage[-1])
        judge = "log_loss" if "log_loss" in history else "valid_loss"
        kept = last[history[judge].to_numpy()[last].argmin()]
        shown = history[["train_loss", "valid_loss", "accuracy"]].to_numpy(float) * (1, 1, 100)
        for column, x in enumerate((np.arange(1, len(history) + 1), spent[name])):
            for axes, y in zip(rows[:, column], shown.T, strict=True):
                axes.plot(x, y, label=name, **look)
                axes.plot(x[starts], y[starts], "|", color=look["color"], markersize=10)
                axes.plot(x[kept], y[kept], "o", color=look["color"], ms=9, fillstyle="none")
    names = ("loss on train, nats", "loss on valid, nats", "accuracy on valid, %")
    for axes, name in zip(rows[:, 0], names, strict=True):
        axes.set_ylabel(name)
    rows[2, 0].set(xlabel="epoch")
    rows[2, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    first, ends = (np.array([each[at] for each in spent.values()]) for at in (0, -1))
    low, high = max(first.min(), 0.1), max(ends.max(), 0.1)
    scale(rows[2, 1], low, high, far=high > FAR * ends.min())
    rows[2, 1].set(xlabel="seconds of epochs, judging included")
    rows[0, 0].set_title("Ring: the epoch that was kept. Tick: another stage begins")
    handles = [line for line in rows[0, 0].lines if line.get_label() in histories]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


@styled
def class_differences(classes: pd.DataFrame, first: str, second: str) -> Figure:
    """Plot the recall of the species that differ most, as `pairs.by_class` lists them.

    At least one must differ.
    """
    differ = classes[classes["points"].abs() > 0]
    shown = differ.head(MOST).sort_values(["points", "label"], ascending=[False, True])
    figure, ((axes,),) = panels(9, 2 + 0.28 * len(shown))
    places = np.arange(len(shown))
    ends = 100 * shown["recall_first"], 100 * shown["recall_second"]
    axes.hlines(places, np.minimum(*ends), np.maximum(*ends), color=GREY, linewidth=1)
    for recall, name, colour in zip(ends, (first, second), (BLUE, ORANGE), strict=True):
        axes.plot(recall, places, "o", color=colour, label=name)
    names = [f"{label} ({n})" for label, n in zip(shown["label"], shown["n"], strict=True)]
    axes.set_yticks(places, names)
    axes.set(xlabel="right, % (in brackets, of how many photos)", xlim=(-3, 103))
    axes.set_ylim(len(shown) - 0.5, -0.5)
    most = f"; the {MOST} that differ most" if len(differ) > MOST else ""
    axes.set_title(f"{len(differ)} of {len(classes)} species differ{most}")
    axes.tick_params(left=False)
    figure.legend(loc="outside lower center", ncols=2)
    return figure
