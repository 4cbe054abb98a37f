"""Galleries of doubtful labels and of near-duplicates, beside what helps to judge them."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldmark.evaluation.galleries import show_photo
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.plotting import BLUE, GREY, ORANGE, RED, create_axes, styled

NOT_JUDGED = "Doubtful labels (a label is judged if another photo has it)"
BLOCKS = 3  # photos with their company, side by side


@styled
def show_label_errors(
    explained: ExplainedRun, errors: pd.DataFrame, typical: dict[str, str], title: str = ""
) -> Figure:
    """Show doubtful photos, each beside a typical photo of its label and of the suggested label.

    `errors` are rows of `find_label_errors`, `typical` is of `find_typical_photos`. Photos that
    could not be judged are left out.
    """
    if errors["self_confidence"].isna().all():
        return create_grid(0, 3, NOT_JUDGED)[0]
    errors = errors.dropna(subset=["self_confidence"])
    title = title or f"The {len(errors)} most doubtful labels: ? doubtful, = label, → suggestion"
    figure, grid = create_grid(len(errors), 3, title)
    for number, (row, axes) in enumerate(zip(errors.to_dict("records"), grid, strict=True), 1):
        paths = [row["path"], typical[row["label"]], typical[row["suggested"]]]
        share, suggested = row["self_confidence"], row["suggested_probability"]
        texts = [
            (f"? {number}. {shorten(row['path'])}", RED if row["flagged"] else ORANGE),
            (f"= {row['label']}, {percent(share)}", GREY),
            (f"→ {row['suggested']}, {percent(suggested)}", BLUE),
        ]
        show_photos(explained, axes, paths, texts)
    return figure


@styled
def show_near_duplicates(explained: ExplainedRun, pairs: pd.DataFrame) -> Figure:
    """Show pairs of photos of `find_near_duplicates`, each photo with its label."""
    figure, grid = create_grid(len(pairs), 2, "Very similar photos with different labels")
    for number, (row, axes) in enumerate(zip(pairs.to_dict("records"), grid, strict=True), 1):
        bits = "" if np.isnan(row["distance"]) else f", {row['distance']:.0f} bits apart"
        texts = [
            (f"{number}. {row['first_label']}", BLUE),
            (f"{row['second_label']}\nsimilarity {row['similarity']:.2f}{bits}", RED),
        ]
        show_photos(explained, axes, [row["first"], row["second"]], texts)
    return figure


def create_grid(count: int, photos: int, title: str) -> tuple[Figure, np.ndarray]:
    """Return a Figure, and its Axes [count, photos]: several blocks of `photos` a row."""
    rows = max(-(-count // BLOCKS), 1)
    figure, axes = create_axes(4.6 * photos, 1.95 * rows + 0.4, rows, BLOCKS * photos)
    figure.suptitle(title if count else f"{title}: none", x=0, ha="left")
    for unused in axes.ravel():
        unused.set_axis_off()
    return figure, axes.reshape(rows * BLOCKS, photos)[:count]


def show_photos(
    explained: ExplainedRun, axes: np.ndarray, paths: list[str], texts: list[tuple[str, str]]
) -> None:
    """Draw photos as the network sees them, each below its text of a colour."""
    each: Axes
    for each, pixels, (text, colour) in zip(axes, explained.prepare(paths), texts, strict=True):
        show_photo(each, pixels)
        each.set_title(wrap(text), size=7, loc="left", color=colour)


def wrap(text: str, width: int = 26) -> str:
    """Break a text into lines at spaces."""
    return "\n".join(
        line for part in text.split("\n") for line in (textwrap.wrap(part, width) or [""])
    )


def shorten(path: str) -> str:
    """Return the name of a photo's file; the gallery shows its folder as the label."""
    return path.rsplit("/", 1)[-1]


def percent(share: float) -> str:
    """Return a probability in percent, without a space where the line could break."""
    return f"{100 * share:.0f}\u00a0%" if not share < 0.01 else "<1\u00a0%"
