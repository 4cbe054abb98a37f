"""Figures of learning curves and of what more photos would bring."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fieldmark.explain.photos.extrapolation import MIN_POINTS, fit_power_law, further_photos
from fieldmark.explain.photos.groups import ALL
from fieldmark.explain.photos.learning_curves import LearningCurves
from fieldmark.plotting import BLUE, GREY, ORANGE, create_axes, styled

COLUMNS = 3


@styled
def plot_learning_curves(
    curves: LearningCurves, groups: dict[str, np.ndarray], gains: pd.DataFrame, count: int = 5
) -> Figure:
    """Plot the accuracy of all species, and of the groups with the largest gains, by photos.

    Bars are 95 % bootstrap intervals over photos, the dashed line is the fitted power law.
    """
    chosen = {ALL: np.unique(curves.truth)}
    chosen |= {name: groups[name] for name in gains["group"].head(count)}
    if len(curves.sizes) < MIN_POINTS:
        chosen = {}
    height = max(-(-len(chosen) // COLUMNS), 1)
    columns = min(max(len(chosen), 1), COLUMNS)
    figure, grid = create_axes(4 * columns, 3.2 * height, height, columns, sharey=True)
    weights = curves.resample()
    for axes, (name, labels) in zip(grid.flat, chosen.items(), strict=False):
        photos = curves.photos_per_species(labels)
        measured = curves.of_group(labels, np.ones((1, len(curves.truth))))
        low, high = np.quantile(curves.of_group(labels, weights), [0.025, 0.975], axis=0)
        law = fit_power_law(photos, 1 - measured)
        end = photos[-1] + further_photos(photos[-1])
        reach = np.linspace(photos[0], end, 100)
        fitted = np.array([1 - law.predict(x)[0] for x in reach])
        axes.plot(reach, 100 * fitted, color=ORANGE, linestyle="--", label="power law")
        axes.vlines(photos, 100 * low, 100 * high, color=BLUE)
        axes.plot(photos, 100 * measured[0], "o", color=BLUE, markersize=4, label="measured")
        axes.axvspan(photos[-1], end, color=GREY, alpha=0.1, linewidth=0)
        n_test = int(np.isin(curves.truth, labels).sum())
        axes.set_title(f"{name}\n{len(labels)} species, {n_test:,} photos judge", size=10)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    if not chosen:
        figure.suptitle("Too few photos for learning curves", x=0, ha="left")
        return figure
    grid.flat[0].legend(loc="lower right")
    for axes in grid[:, 0]:
        axes.set_ylabel("right of the probe, %")
    figure.supxlabel("training photos per species; grey: not measured", size=10)
    return figure


@styled
def plot_gains(gains: pd.DataFrame, count: int = 30) -> Figure:
    """Plot the expected gain of each group with its interval, the largest first."""
    rows = gains.head(count)
    figure, ((axes,),) = create_axes(8, 1.4 + 0.26 * len(rows))
    place = np.arange(len(rows))
    axes.hlines(place, 100 * rows["gain_low"], 100 * rows["gain_high"], color=BLUE)
    axes.plot(100 * rows["gain"], place, "o", color=BLUE, markersize=5)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(place, [f"{row.group} ({row.species})" for row in rows.itertuples()])
    if len(rows):
        axes.set_ylim(len(rows) - 0.5, -0.5)
    numbers = " to ".join(
        str(number) for number in sorted({rows["more"].min(), rows["more"].max()})
    )
    title = f"What {numbers} more photos of each species would bring the probe"
    axes.set_title(title if len(rows) else "What more photos would bring: cannot be told")
    axes.set_xlabel("points of accuracy, with 95 % interval; (species of the group)")
    return figure
