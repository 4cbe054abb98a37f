"""Galleries of photos: correct and wrong predictions, and the highest losses."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldmark.evaluation.predictions import Predictions
from fieldmark.network.preparation import Preparation
from fieldmark.plotting import BLUE, RED, create_axes, styled


def show_correct(
    predictions: Predictions, folder: Path, preparation: Preparation, count: int = 12, seed: int = 0
) -> Figure:
    """Show a random sample of correct predictions."""
    rows = predictions.table[predictions.correct]
    rows = rows.sample(min(count, len(rows)), random_state=seed)
    return show_gallery(rows, folder, preparation, "Correct predictions")


def show_wrong(
    predictions: Predictions, folder: Path, preparation: Preparation, count: int = 12, seed: int = 0
) -> Figure:
    """Show a random sample of wrong predictions."""
    rows = predictions.table[~predictions.correct]
    rows = rows.sample(min(count, len(rows)), random_state=seed)
    return show_gallery(rows, folder, preparation, "Wrong predictions")


def show_top_losses(
    predictions: Predictions, folder: Path, preparation: Preparation, count: int = 12
) -> Figure:
    """Show the photos with the highest loss, whose label has the lowest probability."""
    rows = predictions.table.nlargest(count, "loss")
    return show_gallery(rows, folder, preparation, "Highest losses")


@styled
def show_gallery(
    rows: pd.DataFrame, folder: Path, preparation: Preparation, title: str, columns: int = 4
) -> Figure:
    """Show photos as the model sees them, with label, prediction and probabilities.

    `rows` are rows of `Predictions.table`, `folder` holds their paths.
    """
    if rows.empty:
        figure = Figure(figsize=(3 * columns, 0.5))
        figure.suptitle(f"{title}: none", x=0, ha="left")
        return figure
    height = -(-len(rows) // columns)
    figure, grid = create_axes(3 * columns, 3.2 * height + 0.5, height, columns)
    for axes in grid.flat[len(rows) :]:
        axes.set_axis_off()
    for axes, row in zip(grid.flat, rows.itertuples(), strict=False):
        show_photo(axes, preparation.prepare((Path(folder) / row.path).read_bytes()))
        prediction = f"{row.predicted}, {100 * row.probability:.0f} %"
        if row.label == row.predicted:
            axes.set_title(f"✓ {prediction}", size=9, loc="center", color=BLUE)
        else:
            label = f"label: {row.label}, {100 * row.probability_of_label:.1f} %"
            axes.set_title(f"✗ {prediction}\n{label}", size=9, loc="center", color=RED)
    figure.suptitle(title, x=0, ha="left")
    return figure


def show_photo(axes: Axes, pixels: np.ndarray) -> None:
    """Draw a photo, uint8 [height, width, 3], without axis lines."""
    axes.imshow(pixels)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
