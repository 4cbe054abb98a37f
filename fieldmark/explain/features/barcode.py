"""The activation barcode: embeddings as stripes, and how much photos of a species share."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.plotting import GREY, create_axes, styled
from fieldmark.statistics import bootstrap_interval

LIMIT = 2.5  # standard deviations at which colours end


@dataclass(frozen=True, eq=False)
class Barcode:
    """The embeddings of r photos, standardised by the photos of `train`.

    `rows` [r, D] has a row for each photo, `labels` [r] are theirs. Columns are grouped by the
    shown label whose photos of `train` have the highest mean, `owners` [D].
    """

    rows: np.ndarray
    labels: np.ndarray
    owners: np.ndarray


def standardise(predictions: Predictions, reference: Predictions) -> np.ndarray:
    """Return embeddings [n, D] with the mean 0 and the deviation 1 on a reference's photos."""
    mean, deviation = reference.embedding.mean(0), reference.embedding.std(0)
    return (predictions.embedding - mean) / np.where(deviation > 0, deviation, 1)


def make_barcode(explained: ExplainedRun, labels: int = 8, photos: int = 6) -> Barcode:
    """Return the barcode of the labels that have the most photos in `calibration`."""
    held_out, train = explained.held_out, explained.predictions.of_split("train")
    counts = np.bincount(held_out.truth[held_out.truth >= 0], minlength=len(explained.labels))
    shown = np.sort(np.argsort(-counts, kind="stable")[:labels])
    shown = shown[counts[shown] > 0]
    values, reference = standardise(held_out, train), standardise(train, train)
    chosen = [np.flatnonzero(held_out.truth == label)[:photos] for label in shown]
    means = np.stack([reference[train.truth == label].mean(0) for label in shown])
    owners = means.argmax(0)
    columns = np.lexsort((-means.max(0), owners))
    rows = np.concatenate(chosen)
    names = np.array(explained.labels, object)[held_out.truth[rows]]
    return Barcode(values[rows][:, columns], names, owners[columns])


def correlate_labels(explained: ExplainedRun) -> pd.DataFrame:
    """Return how alike the embeddings of each label are: `label`, `photos`, `within`, `between`.

    They are mean correlations of photos of `calibration`: with other photos of the label, and with
    photos of other labels. Labels with a single photo are left out.
    """
    held_out = explained.held_out
    values = standardise(held_out, explained.predictions.of_split("train"))
    centred = values - values.mean(1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-12)
    correlation, rows = unit @ unit.T, []
    for label in np.unique(held_out.truth[held_out.truth >= 0]):
        own = held_out.truth == label
        n = int(own.sum())
        if n > 1 and n < len(own):
            within = (correlation[np.ix_(own, own)].sum() - n) / (n * (n - 1))
            between = correlation[np.ix_(own, ~own)].mean()
            rows.append((explained.labels[label], n, within, between))
    return pd.DataFrame(rows, columns=["label", "photos", "within", "between"])


def describe_correlations(table: pd.DataFrame, seed: int = 0) -> str:
    """Return a sentence with both mean correlations over labels, and their bootstrap intervals."""
    if len(table) < 2:
        return "Too few held-out photos: two labels need two photos each for a correlation."
    parts = []
    for column, meaning in (("within", "the same species"), ("between", "different species")):
        sample = [table[column].to_numpy()]
        found = bootstrap_interval(sample, np.mean, proportion=False, seed=seed)
        low, high = found["interval"]
        parts.append(f"{found['value']:.2f} ({low:.2f} to {high:.2f}) of {meaning}")
    return f"Mean correlation of two photos: {parts[0]}, {parts[1]}."


@styled
def plot_barcode(barcode: Barcode, title: str) -> Figure:
    """Show embeddings as stripes, red above and blue below the mean of all photos, a row a photo.

    Lines divide species; a tick below marks the columns that belong to each.
    """
    rows, labels = barcode.rows, barcode.labels
    figure, ((axes,),) = create_axes(11, 1.4 + 0.2 * len(rows))
    axes.imshow(
        rows, aspect="auto", cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT, interpolation="nearest"
    )
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    ends = np.r_[starts[1:], len(labels)]
    axes.set_yticks((starts + ends - 1) / 2, labels[starts])
    edges = np.flatnonzero(np.diff(barcode.owners)) + 0.5
    axes.hlines(starts[1:] - 0.5, -0.5, rows.shape[1] - 0.5, color=GREY, linewidth=1)
    axes.vlines(edges, -0.5, len(rows) - 0.5, color=GREY, linewidth=0.5)
    figure.suptitle(title, x=0, ha="left", size=11)
    axes.set(xlabel=f"the {rows.shape[1]:,} dimensions of the embedding, grouped")
    axes.tick_params(length=0)
    return figure
