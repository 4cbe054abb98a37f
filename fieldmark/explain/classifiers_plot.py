"""A figure of classic classifiers beside the network."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fieldmark.plotting import BLUE, GREY, ORANGE, create_axes, styled


@styled
def plot_classifiers(table: pd.DataFrame) -> Figure:
    """Plot the accuracy of each classifier with its interval, and the network's as a band."""
    network, rows = table.iloc[0], table.iloc[1:]
    names = list(dict.fromkeys(rows["classifier"]))
    kinds = list(dict.fromkeys(rows["features"]))
    figure, ((axes,),) = create_axes(9, 1.6 + 0.42 * len(names))
    axes.axvspan(100 * network["low"], 100 * network["high"], color=GREY, alpha=0.15)
    label = f"the network: {network['accuracy']:.1%}"
    axes.axvline(100 * network["accuracy"], color=GREY, label=label)
    for kind, colour, shift in zip(kinds, (BLUE, ORANGE), (-0.13, 0.13), strict=False):
        of_kind = rows[rows["features"] == kind].set_index("classifier").loc[names]
        heights = np.arange(len(names)) + shift
        low, value, high = (100 * of_kind[key] for key in ("low", "accuracy", "high"))
        axes.hlines(heights, low, high, color=colour)
        axes.plot(value, heights, "o", color=colour, label=f"features: {kind}")
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel="right, % (95 % interval)")
    axes.set_title(f"On {network['n']} photos held out from training")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
