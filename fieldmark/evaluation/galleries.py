"""Galleries of photos: correct and wrong predictions, and the highest losses."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from birds.photo import decode_upright
from fieldmark.evaluation.predictions import Predictions
from fieldmark.network.preparation import Preparation
from fieldmark.plotting import BLUE, ORANGE, RED, styled

COLUMNS = 4


def show_correct(
    predictions: Predictions, folder: Path, preparation: Preparation, count: int = 12
) -> Figure:
    """Show a random sample of correct predictions."""
    rows = predictions.table[predictions.correct].sample(frac=1, random_state=0).head(count)
    return show_gallery(rows, folder, preparation, "Correct predictions")


def show_wrong(
    predictions: Predictions, folder: Path, preparation: Preparation, count: int = 12
) -> Figure:
    """Show a random sample of wrong predictions."""
    rows = predictions.table[~predictions.correct].sample(frac=1, random_state=0).head(count)
    return show_gallery(rows, folder, preparation, "Wrong predictions")


def show_top_losses(
    predictions: Predictions, folder: Path, preparation: Preparation, count: int = 12
) -> Figure:
    """Show the photos with the highest loss, whose label has the lowest probability."""
    rows = predictions.table.nlargest(count, "loss")
    return show_gallery(rows, folder, preparation, "Highest losses")


@styled
def show_crops(crops: pd.DataFrame, folder: Path, count: int = 16) -> Figure:
    """Show whole photos with the best box (orange) and the crop (blue), those without a box first.

    `crops` is a table of `fieldmark.data.found_birds.read_crops`, `folder` holds the whole photos.
    Photos without a box are a quarter at most, where there are others.
    """
    readable = crops[crops["source"] != "unreadable"].sample(frac=1, random_state=0)
    missed, found = (readable[readable["birds"].eq(0) == empty] for empty in (True, False))
    missed = missed.head(max(count // 4, count - len(found)))
    rows = pd.concat([missed, found.head(count - len(missed))])
    height = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 3 * height + 0.5), layout="constrained")
    figure.suptitle("Where the finder looks", x=0, ha="left")
    for position, row in enumerate(rows.to_dict("records"), 1):
        axes = figure.add_subplot(height, COLUMNS, position)
        show_photo(axes, decode_upright((Path(folder) / row["path"]).read_bytes()).pixels)
        axes.images[0].set_extent((0, row["width"], row["height"], 0))
        crop = [row[f"crop_{key}"] for key in ("left", "top", "side", "side")]
        found_box = [row[f"found_{key}"] for key in ("left", "top", "width", "height")]
        for (left, top, width, height_), colour in ((crop, BLUE), (found_box, ORANGE)):
            axes.add_patch(Rectangle((left, top), width, height_, fill=False, color=colour, lw=2))
        score = f"score {row['score']:.2f}" if row["birds"] else "none found: middle square"
        axes.set_title(f"{row['path']}\n{score}", size=7, loc="center")
    return figure


@styled
def show_gallery(rows: pd.DataFrame, folder: Path, preparation: Preparation, title: str) -> Figure:
    """Show photos as the model sees them, with label, prediction and probabilities.

    `rows` are rows of `Predictions.table`, `folder` holds their paths.
    """
    height = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 3.2 * height + 0.5), layout="constrained")
    figure.suptitle(title if height else f"{title}: none", x=0, ha="left")
    for position, row in enumerate(rows.itertuples(), 1):
        axes = figure.add_subplot(height, COLUMNS, position)
        show_photo(axes, preparation.prepare((Path(folder) / row.path).read_bytes()))
        text, colour = f"✓ {row.predicted}, {100 * row.probability:.0f} %", BLUE
        if row.label != row.predicted:
            label = f"label: {row.label}, {100 * row.probability_of_label:.1f} %"
            text, colour = f"✗{text[1:]}\n{label}", RED
        axes.set_title(text, size=9, loc="center", color=colour)
    return figure


def show_photo(axes: Axes, pixels: np.ndarray) -> None:
    """Draw a photo, uint8 [height, width, 3], without axis lines."""
    axes.imshow(pixels)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
