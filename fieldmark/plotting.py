"""Figures of photos and training in numbers. Each is a Figure, which its cell shows as its value.

They are made without pyplot, so nothing stays open and nothing is shown twice. The notebook says
`%matplotlib inline`, or a Figure is only named there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, which the colour-blind tell apart
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"),
)
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


def panels(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """Return a Figure of so many inches, and its Axes [rows, columns]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Figure, folder: Path, name: str) -> Figure:
    """Write a figure to `folder`/figures/`name`.png, and return it for the cell to show."""
    path = Path(folder) / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=STYLE["savefig.dpi"])
    return figure


@styled
def class_counts(photos: pd.DataFrame, most: int = 40) -> Figure:
    """Plot the photos of each class, the commonest first: named bars, or a curve for over `most`.

    A curve of counts that differ more than twentyfold has a logarithmic scale.
    """
    counts = photos["label"].value_counts()
    first, last = counts.iloc[0], counts.iloc[-1]
    title = f"{len(counts)} classes of {last:,} to {first:,} photos"
    if first == last:
        title = f"Each of {len(counts)} classes has {first:,} photos"
    if len(counts) <= most:
        figure, ((axes,),) = panels(9, 1.2 + 0.26 * len(counts))
        bars = axes.barh(counts.index, counts, color=BLUE)
        axes.bar_label(bars, padding=3, fmt="{:,.0f}")
        axes.invert_yaxis()
        axes.set(title=title, xlabel="photos")
        axes.tick_params(left=False)
        return figure
    figure, ((axes,),) = panels(9, 3.6)
    place = np.arange(1, len(counts) + 1)
    axes.fill_between(place, counts, step="mid", color=SKY, alpha=0.5, linewidth=0)
    axes.step(place, counts, where="mid", color=BLUE)
    if first > last:
        middle = counts.median()
        axes.axhline(middle, color=GREY, linestyle="--", linewidth=1)
        words = f"half the classes have {middle:,.0f} or fewer"
        above = ((len(counts), middle), (0, 4), "data", "offset points")
        axes.annotate(words, *above, ha="right", color=GREY)
    if first > 20 * last:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel="class, the commonest first", ylabel="photos")
    axes.margins(x=0.01, y=0.12)
    return figure


@styled
def image_sizes(photos: pd.DataFrame, size: int) -> Figure:
    """Plot `width` by `height` in pixels, and the square of `size` pixels that the model sees."""
    smaller = photos[["width", "height"]].min(axis=1) < size
    counted = photos.groupby(["width", "height"]).size()
    width, height = (counted.index.get_level_values(i) for i in (0, 1))
    figure, ((axes,),) = panels(6.5, 5.5)
    axes.scatter(width, height, s=12 + 200 * counted / len(photos), color=BLUE, alpha=0.4)
    seen = [0, size, size], [size, size, 0]
    axes.plot(*seen, color=RED, linestyle="--", label=f"what the model sees: {size} px a side")
    figure.legend(loc="outside lower center")
    axes.set_aspect("equal")
    reach = 1.05 * max(width.max(), height.max(), size)
    axes.set(xlim=(0, reach), ylim=(0, reach), xlabel="width, pixels", ylabel="height, pixels")
    many = "no photo" if not smaller.any() else f"{smaller.sum():,} of {len(photos):,} photos"
    verb = "is" if smaller.sum() < 2 else "are"
    axes.set_title(f"{many[0].upper()}{many[1:]} {verb} smaller than the model sees")
    return figure


@styled
def training(history: pd.DataFrame, rates: dict[str, np.ndarray] | None = None) -> Figure:
    """Plot losses and accuracy by epoch, and the learning rates by step.

    `history` has a row an epoch: `stage`, `train_loss`, and of `valid` `valid_loss`, `log_loss` and
    `accuracy`. `rates` holds, for each stage, the rate of every parameter group, [steps] or
    [steps, groups], the head last; a Checkpoint has both.
    """
    figure, (row,) = panels(12, 3.8, 1, 3 if rates else 2)
    epoch = np.arange(1, len(history) + 1)
    best = int(np.argmin(history["log_loss"]))
    row[0].plot(epoch, history["train_loss"], color=BLUE, marker=".", label="train")
    row[0].plot(epoch, history["valid_loss"], color=RED, marker=".", linestyle="--", label="valid")
    row[0].plot(epoch, history["log_loss"], color=RED, linestyle=":", label="valid, calibrated")
    row[0].set(title="Loss", xlabel="epoch", ylabel="loss, nats")
    row[0].legend()
    accuracy = 100 * history["accuracy"].to_numpy(float)
    row[1].plot(epoch, accuracy, color=RED, marker=".")
    row[1].plot(epoch[best], accuracy[best], "o", color=RED, markersize=9, fillstyle="none")
    row[1].set(title=f"At the lowest calibrated loss: {accuracy[best]:.1f} % right", xlabel="epoch")
    row[1].set(ylabel="accuracy on valid, %", ylim=(0, 102))
    for axes in row[:2]:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        mark_stages(axes, history["stage"])
    if rates:
        plot_rates(row[2], rates)
    return figure


def mark_stages(axes: Axes, stages: pd.Series) -> None:
    """Draw a line between the stages of training, and name them at the bottom."""
    values = stages.astype(str).to_numpy()
    starts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1)]
    for start in starts:
        if start:
            axes.axvline(start + 0.5, color=GREY, linewidth=1, linestyle=":")
        place, to = (start + 0.5, 0.02), axes.get_xaxis_transform()
        axes.text(*place, f" {values[start]}", transform=to, color=GREY)
    axes.set_xlim(0.5, len(values) + 0.5)


def plot_rates(axes: Axes, rates: dict[str, np.ndarray]) -> None:
    """Plot the learning rate of each parameter group, the head's in red, the stem's palest."""
    start = 0
    deepest = max(np.atleast_2d(np.asarray(each).T).shape[0] for each in rates.values())
    for name, each in rates.items():
        groups = np.atleast_2d(np.asarray(each, float).T)
        steps = np.arange(start, start + groups.shape[1])
        for below, group in enumerate(groups[::-1]):
            colour = RED if below == 0 else BLUE
            fade = 1 if below == 0 else 1 - 0.75 * (below - 1) / max(deepest - 2, 1)
            axes.plot(steps, group, color=colour, alpha=fade)
        axes.text(start, 0.02, f" {name}", transform=axes.get_xaxis_transform(), color=GREY)
        if start:
            axes.axvline(start, color=GREY, linewidth=1, linestyle=":")
        start += groups.shape[1]
    axes.plot([], [], color=RED, label="head")
    if deepest > 1:
        axes.plot([], [], color=BLUE, label="body, paler towards the stem")
    axes.set(title="Learning rates", xlabel="step", ylabel="learning rate", yscale="log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, 6 * high)  # room for the legend
    axes.legend(loc="upper right", fontsize=9)
