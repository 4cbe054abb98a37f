"""Figures of attributions: evidence over photos, what deletion does, and the methods' scores."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from fieldmark.evaluation.galleries import show_photo
from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain.attribution.methods import CLASS_MAP, METHODS, attribute, create_logits
from fieldmark.explain.attribution.removal import STEPS, remove_and_insert
from fieldmark.explain.attribution.scores import MEASURES, UNSUPPORTED, Scores
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.label_logits import LabelLogits
from fieldmark.plotting import BLUE, GREY, ORANGE, create_axes, plot_sentence, styled

FOR, AGAINST = ORANGE, BLUE  # evidence
STRONGEST = 0.98  # the quantile of attributions with full colour: single pixels do not pale others
SMOOTHED = 1 / 56  # standard deviation of the smoothing for display, as a share of the side
SHADES = (0.15, 0.95)  # of the grey photo, so that colour stands out


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a photo in grey with evidence for a label in orange, against it in blue.

    `pixels` are uint8 [S, S, 3], `values` attributions [S, S], which are smoothed a little. Returns
    float [S, S, 3] between 0 and 1.
    """
    low, high = SHADES
    grey = low + (high - low) * pixels.mean(2, keepdims=True) / 255
    smooth = gaussian_filter(values, SMOOTHED * len(values))
    scale = np.quantile(np.abs(smooth), STRONGEST)
    strength = np.clip(np.abs(smooth) / (scale or 1), 0, 1)[..., None]
    colour = np.where(smooth[..., None] > 0, to_rgb(FOR), to_rgb(AGAINST))
    return grey + 0.85 * strength * (colour - grey)


def sample_rows(predictions: Predictions, correct: bool, count: int, seed: int = 0) -> np.ndarray:
    """Return the rows of a random sample of right or of wrong answers, at most `count`."""
    rows = np.flatnonzero(predictions.correct == correct)
    return np.random.default_rng(seed).permutation(rows)[:count]


@styled
def plot_attributions(
    explained: ExplainedRun,
    predictions: Predictions,
    rows: Sequence[int] | np.ndarray,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
) -> Figure:
    """Plot photos with the evidence that each method sees for the predicted label.

    A wrong answer has a second line, for the true label. `rows` are those of `predictions`. A
    method that does not support the network leaves its place empty.
    """
    shown = [(row, label) for row in rows for label in list_labels(predictions, row)]
    if not shown:
        return plot_sentence("No photo of this kind is among the calibration photos.")
    logits = create_logits(explained, predictions.temperature)
    columns = len(methods) + 1
    size = {"width": 1.35 * columns, "height": 1.62 * len(shown) + 0.6}
    figure, axes = create_axes(**size, rows=len(shown), columns=columns)
    for line, (row, label) in zip(axes, shown, strict=True):
        pixels = explained.prepare([predictions.paths[row]])[0]
        show_photo(line[0], pixels)
        line[0].set_title(describe_label(predictions, row, label), size=6.5)
        photo = explained.network.preparation.normalize(pixels[None])
        for cell, name in zip(line[1:], methods, strict=True):
            draw_attribution(cell, name, logits, pixels, photo, label, seed)
    for cell, name in zip(axes[0, 1:], methods, strict=True):
        cell.set_title(name, size=8)
    add_legend(figure)
    return figure


def list_labels(predictions: Predictions, row: int) -> list[int]:
    """Return the predicted label of a photo, and the true one where it is another."""
    predicted, truth = int(predictions.predicted[row]), int(predictions.truth[row])
    return list(dict.fromkeys(label for label in (predicted, truth) if label >= 0))


def describe_label(predictions: Predictions, row: int, label: int) -> str:
    """Return the title of a photo: whether a label is the prediction or the truth."""
    predicted, truth = predictions.predicted[row], predictions.truth[row]
    share, name = predictions.probability[row, label], predictions.labels[label]
    mark = "✓" if predicted == truth else ("✗ predicted" if label == predicted else "true label")
    return f"{name}\n{mark}, {share:.0%}"


def draw_attribution(
    axes: Axes,
    name: str,
    logits: LabelLogits,
    pixels: np.ndarray,
    photo: torch.Tensor,
    label: int,
    seed: int,
) -> None:
    """Draw the overlay of a method, or that the network is not supported."""
    try:
        values = attribute(name, logits, photo, torch.tensor([label]), seed)[0]
    except UNSUPPORTED:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "not\nsupported", ha="center", va="center", color=GREY)
        return
    show_photo(axes, overlay(pixels, values))


def add_legend(figure: Figure) -> None:
    """Say below a figure which colour is which evidence."""
    patches = [
        Axes.scatter(figure.axes[0], [], [], marker="s", color=colour, label=text)
        for colour, text in ((FOR, "speaks for the label"), (AGAINST, "speaks against it"))
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=2)


@styled
def plot_removal(
    explained: ExplainedRun, predictions: Predictions, row: int, shown: int = 7
) -> Figure:
    """Plot a photo as its most important cells are removed, and inserted, with probabilities.

    The class map ranks them, or occlusion where the network has no map.
    """
    method = CLASS_MAP if explained.network.backbone.map_size else "occlusion"
    logits = create_logits(explained, predictions.temperature)
    pixels = explained.prepare([predictions.paths[row]])
    photo = explained.network.preparation.normalize(pixels)
    label = int(predictions.predicted[row])
    values = attribute(method, logits, photo, torch.tensor([label]))[0]
    steps = np.unique((STEPS * np.linspace(0, 1, shown) ** 1.5).round().astype(int))
    figure, axes = create_axes(1.7 * len(steps), 4.2, 2, len(steps))
    figure.suptitle(
        f"{predictions.labels[label]}: cells in the order of the {method}", x=0, ha="left"
    )
    mean, std = explained.network.preparation.statistics()
    for line, photos, verb in zip(
        axes, remove_and_insert(photo[0], values), ("deleted", "inserted"), strict=True
    ):
        with torch.no_grad():
            probability = logits(photos).softmax(1)[:, label]
        for cell, step in zip(line, steps, strict=True):
            show_photo(cell, (photos[step] * std + mean).clamp(0, 1).permute(1, 2, 0).numpy())
            text = f"{step / STEPS:.0%} {verb}\nprobability {probability[step]:.0%}"
            cell.set_title(text, size=8)
    return figure


@styled
def plot_scores(summary: pd.DataFrame) -> Figure:
    """Plot the measures of `summarize` with 95 % intervals, the best insertion first."""
    means = summary[summary["against"].eq("")]
    ranked = means[means["measure"].eq("insertion")].sort_values("value", ascending=False)
    order = list(ranked["method"])
    measures = [measure for measure in MEASURES if measure in set(means["measure"])]
    figure, (axes,) = create_axes(
        3.6 * len(measures) + 1.2, 0.9 + 0.32 * len(order), 1, len(measures), sharey=True
    )
    for cell, measure in zip(axes, measures, strict=True):
        rows = means[means["measure"].eq(measure)].set_index("method").reindex(order)
        value = rows["value"].to_numpy(float)
        ends = np.stack([value - rows["low"].to_numpy(float), rows["high"].to_numpy(float) - value])
        colours = [ORANGE if name == CLASS_MAP else BLUE for name in order]
        for position, colour in enumerate(colours):
            error = np.nan_to_num(ends[:, position : position + 1]).clip(0)
            cell.errorbar(value[position], position, xerr=error, fmt="o", color=colour, capsize=3)
        cell.set(yticks=range(len(order)), yticklabels=order)
        cell.set_title(MEASURES[measure].replace(" (", "\n("), size=10)
        cell.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    return figure


@styled
def plot_correlation(scores: Scores) -> Figure:
    """Plot the mean rank correlation of each two methods: which of them agree."""
    with np.errstate(invalid="ignore"):
        missing = np.isnan(scores.correlation).all(0)
        mean = np.where(missing, np.nan, np.nansum(scores.correlation, 0))
        mean = mean / np.maximum((~np.isnan(scores.correlation)).sum(0), 1)
    count = len(scores.methods)
    figure, ((axes,),) = create_axes(2.4 + 0.55 * count, 1.9 + 0.45 * count)
    picture = axes.imshow(mean, cmap="cividis", vmin=min(0, float(np.nanmin(mean))), vmax=1)
    for row, column in np.ndindex(count, count):
        value = mean[row, column]
        if np.isfinite(value):
            colour = "black" if value > 0.5 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", size=8, color=colour)
    axes.set(xticks=range(count), yticks=range(count), yticklabels=scores.methods)
    axes.set_xticklabels(scores.methods, rotation=40, ha="right")
    axes.set_title("Which methods agree: rank correlation of their maps")
    figure.colorbar(picture, ax=axes, shrink=0.7)
    return figure
