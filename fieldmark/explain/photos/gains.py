"""What more photos would bring each group of species, with intervals."""

import numpy as np
import pandas as pd

from fieldmark.explain.photos.extrapolation import (
    MIN_POINTS,
    NORMAL,
    further_photos,
    predict_gain,
    standard_error,
)
from fieldmark.explain.photos.learning_curves import LearningCurves

COLUMNS = ["group", "species", "n_test", "photos_per_species", "accuracy", "accuracy_low"]
COLUMNS += ["accuracy_high", "more", "gain", "gain_low", "gain_high"]


def tabulate_gains(
    curves: LearningCurves, groups: dict[str, np.ndarray], factor: float = 1, seed: int = 0
) -> pd.DataFrame:
    """Return what photos of each species would bring each group, the largest gain first.

    Columns: COLUMNS: the accuracy with all photos, and its gain by `more` photos of each species,
    as shares of 1. The interval of the accuracy is that of a bootstrap over photos. That of the
    gain is of what would be measured with the photos that judge now, widened by `factor`.
    """
    if len(curves.sizes) < MIN_POINTS:
        return pd.DataFrame(columns=COLUMNS)
    weights = curves.resample(seed)
    rows = []
    for name, labels in groups.items():
        n_test = int(np.isin(curves.truth, labels).sum())
        photos = curves.photos_per_species(labels)
        measured = curves.of_group(labels, np.ones((1, len(curves.truth))))
        samples = curves.of_group(labels, weights)
        more = further_photos(photos[-1])
        gain = predict_gain(photos, measured, photos[-1], photos[-1] + more)[0]
        width = factor * NORMAL * standard_error(photos, samples, n_test)
        accuracy = measured[0, -1], *np.quantile(samples[:, -1], [0.025, 0.975])
        gains = more, gain, gain - width, gain + width
        rows.append([name, len(labels), n_test, photos[-1], *accuracy, *gains])
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("gain", ascending=False, ignore_index=True)


def describe_curves(curves: LearningCurves) -> str:
    """Return how many photos learning curves are of, and whether they are a sample."""
    n, measured = len(curves.truth), np.unique(curves.truth)
    total, repeats = curves.available[measured].sum(), len(curves.correct)
    sample = f", a sample of {total:,}," if n < total else ""
    times = "one repeat" if repeats == 1 else f"{repeats} repeats"
    return f"{n:,} photos{sample} of {len(measured)} species judge the probes, in {times}."


def describe_gains(gains: pd.DataFrame, count: int = 5) -> str:
    """Return a sentence for each of the groups with the largest gains, and what they mean."""
    if gains.empty:
        return "There are too few photos per species for a learning curve that can be extrapolated."
    lines = []
    for row in gains.head(count).itertuples():
        points = f"{100 * row.gain_low:.0f} to {100 * row.gain_high:.0f}"
        points += ": perhaps nothing" if row.gain_low <= 0 else ""
        whose = f"each species of {row.group} ({row.species}; {row.n_test} photos judge)"
        if row.species == 1:
            whose = f"{row.group} ({row.n_test} photos judge)"
        lines.append(
            f"{row.more} more photos of {whose} would bring {100 * row.gain:.1f} points "
            f"({points}), "
            f"from {100 * row.accuracy:.1f} % with {row.photos_per_species:.0f} photos of each."
        )
    lines.append(
        "These are points of a linear probe on a frozen backbone, not of the fine-tuned network, "
        "which has fewer errors left; all species get as many photos."
    )
    return "\n".join(lines)
