"""Figures of data sets and of training. Each is a Figure, which its cell shows as its value.

They are made without pyplot, so that no figure stays open or is shown twice. A notebook needs
`%matplotlib inline` to draw them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fieldmark.files import atomic_path

# the palette of Okabe and Ito, for colour-blind readers
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
RED, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"
GREY = "#666666"
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "font.size": 10,
    "legend.frameon": False,
    "savefig.dpi": 150,
}
styled = rc_context(STYLE)


def create_axes(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """Return a Figure of `width` x `height` inches, and its Axes [rows, columns]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


@styled
def plot_sentence(text: str) -> Figure:
    """Return a figure that only holds a sentence, which says why there is no other."""
    figure, ((axes,),) = create_axes(9, 0.6)
    axes.set_axis_off()
    axes.text(0, 0.5, text, va="center")
    return figure


def save_figure(figure: Figure, folder: Path, name: str) -> Figure:
    """Write a figure to `folder`/`name`.png, and return it for the cell to show."""
    file = Path(folder) / f"{name}.png"
    with atomic_path(file) as scratch:
        figure.savefig(scratch, dpi=STYLE["savefig.dpi"], format="png")
    return figure


@styled
def plot_class_counts(photos: pd.DataFrame, max_named: int = 40) -> Figure:
    """Plot the photos of each class, most frequent first: bars, or a curve for many classes.

    A curve of counts that differ more than twentyfold has a logarithmic scale.
    """
    counts = photos["label"].value_counts()
    highest, lowest = counts.iloc[0], counts.iloc[-1]
    numbers = f"{lowest:,} to {highest:,} photos" if lowest < highest else f"{lowest:,} photos each"
    title = f"{len(counts)} classes with {numbers}"
    if len(counts) <= max_named:
        figure, ((axes,),) = create_axes(9, 1.2 + 0.26 * len(counts))
        bars = axes.barh(counts.index, counts, color=BLUE)
        axes.bar_label(bars, padding=3, fmt="{:,.0f}")
        axes.invert_yaxis()
        axes.set(title=title, xlabel="photos")
        axes.tick_params(left=False)
        return figure
    figure, ((axes,),) = create_axes(9, 3.6)
    position = np.arange(1, len(counts) + 1)
    axes.fill_between(position, counts, step="mid", color=SKY, alpha=0.5, linewidth=0)
    axes.step(position, counts, where="mid", color=BLUE)
    axes.set(title=title, xlabel="class, most frequent first", ylabel="photos")
    axes.set(yscale="log" if highest > 20 * lowest else "linear")
    return figure


@styled
def plot_image_sizes(photos: pd.DataFrame, size: int) -> Figure:
    """Plot `width` and `height` of photos, and the input of the model, `size` pixels a side."""
    smaller = int((photos[["width", "height"]].min(axis=1) < size).sum())
    counts = photos.groupby(["width", "height"]).size()
    width, height = (counts.index.get_level_values(axis) for axis in (0, 1))
    figure, ((axes,),) = create_axes(6.5, 5.5)
    axes.scatter(width, height, s=12 + 200 * counts / len(photos), color=BLUE, alpha=0.4)
    corner = [0, size, size], [size, size, 0]
    axes.plot(*corner, color=RED, linestyle="--", label=f"input of the model: {size} x {size}")
    figure.legend(loc="outside lower center")
    axes.set_aspect("equal")
    limit = 1.05 * max(width.max(), height.max(), size)
    axes.set(xlim=(0, limit), ylim=(0, limit), xlabel="width, pixels", ylabel="height, pixels")
    axes.set_title(f"Smaller than the input of the model: {smaller:,} of {len(photos):,} photos")
    return figure


@styled
def plot_history(
    history: pd.DataFrame, learning_rates: Mapping[str, np.ndarray] | None = None
) -> Figure:
    """Plot losses and accuracy by epoch, and learning rates by step.

    `history` has a row an epoch: the phase, `train_loss`, and on `valid` `valid_loss`, `log_loss`
    and `accuracy`. `learning_rates` holds, for each phase, the rate of every parameter group,
    [steps] or [steps, groups], the head last.
    """
    figure, (axes,) = create_axes(12, 3.8, 1, 3 if learning_rates else 2)
    epoch, best = np.arange(1, len(history) + 1), int(np.argmin(history["log_loss"]))
    axes[0].plot(epoch, history["train_loss"], color=BLUE, marker=".", label="train")
    axes[0].plot(epoch, history["valid_loss"], color=RED, marker=".", linestyle="--", label="valid")
    axes[0].plot(epoch, history["log_loss"], color=RED, linestyle=":", label="valid, calibrated")
    axes[0].set(title="Loss", xlabel="epoch", ylabel="loss, nats")
    axes[0].legend()
    accuracy = 100 * history["accuracy"].to_numpy(float)
    axes[1].plot(epoch, accuracy, color=RED, marker=".")
    axes[1].plot(epoch[best], accuracy[best], "o", color=RED, markersize=9, fillstyle="none")
    axes[1].set(title=f"Accuracy at the lowest calibrated loss: {accuracy[best]:.1f} %")
    axes[1].set(xlabel="epoch", ylabel="accuracy on valid, %", ylim=(0, 102))
    for each in axes[:2]:
        each.xaxis.set_major_locator(MaxNLocator(integer=True))
        mark_phases(each, history["phase"])
    if learning_rates:
        plot_learning_rates(axes[2], learning_rates)
    return figure


def mark_phases(axes: Axes, phases: pd.Series) -> None:
    """Mark the phases of a training, given by epoch."""
    names = phases.astype(str).to_numpy()
    axes.set_xlim(0.5, len(names) + 0.5)
    for start in (0, *(np.flatnonzero(names[1:] != names[:-1]) + 1)):
        mark_start(axes, start + 0.5, names[start])


def mark_start(axes: Axes, x: float, phase: str) -> None:
    """Draw a line at the start of a phase, and write its name at the bottom."""
    axes.axvline(x, color=GREY, linewidth=1, linestyle=":")
    axes.text(x, 0.02, f" {phase}", transform=axes.get_xaxis_transform(), color=GREY)


def plot_learning_rates(axes: Axes, learning_rates: Mapping[str, np.ndarray]) -> None:
    """Plot the learning rate of each parameter group: the head's in red, the stem's palest."""
    start = 0
    for phase, rates in learning_rates.items():
        groups = np.atleast_2d(np.asarray(rates, float).T)
        steps = np.arange(start, start + groups.shape[1])
        for depth, group in enumerate(groups[::-1]):
            alpha = 1 if depth == 0 else 1 - 0.75 * (depth - 1) / max(len(groups) - 2, 1)
            axes.plot(steps, group, color=BLUE if depth else RED, alpha=alpha)
        mark_start(axes, start, phase)
        start += groups.shape[1]
    axes.set(title="Learning rates; red: head", xlabel="step", ylabel="learning rate", yscale="log")
