"""Measure how well learning curves of few photos predict accuracy with more, and the next gains.

    FIELDMARK_PHOTOS=... FIELDMARK_WEIGHTS=... python -m benchmarks.learning_curves [--save]

Curves are those of explain.ipynb: a linear probe on the pretrained backbone, by the number of
photos per species, each photo judged by probes that did not learn from it.
"""

from pathlib import Path

import numpy as np
import typer

from benchmarks.results import MODEL, RunFolder, Save, percent, report
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.photos.curve_validation import validate
from fieldmark.explain.photos.gains import tabulate_gains
from fieldmark.explain.photos.groups import choose_groups
from fieldmark.explain.photos.learning_curves import measure_learning_curves
from fieldmark.explain.pretrained import compute_pretrained_features
from fieldmark.statistics import bootstrap_interval, wilson_interval

SHOWN = 3  # groups with the largest gains


def main(
    run: RunFolder = MODEL, folds: int = 5, repeats: int = 3, seed: int = 0, save: Save = False
) -> None:
    """Print the test of the extrapolation and the largest gains."""
    explained = ExplainedRun.load(Path(run))
    features = compute_pretrained_features(explained)
    truth = explained.predictions.truth
    curves = measure_learning_curves(features, explained.photos, truth, folds, repeats, seed)
    rows = []
    validation = validate(curves, explained.labels, explained.families)
    if validation:
        table = validation.groups
        n = f"{len(table)} groups"
        difference = 100 * (table["accuracy_predicted"] - table["accuracy_measured"]).to_numpy()
        half, photos = table[["half", "photos"]].mean()
        curve = f"{photos:.0f} photos per species, predicted from curves up to {half:.0f}"
        for name, values in (("mean absolute error", abs(difference)), ("bias", difference)):
            figure = bootstrap_interval([values], np.mean, proportion=False)
            rows.append([f"accuracy with {curve}: {name}, points", format_points(figure), n])
        for name, count in (
            ("bootstrap intervals of the prediction", validation.covered),
            (
                "published intervals, widened as the other groups require",
                validation.covered_widened,
            ),
        ):
            covered = percent(wilson_interval(count, len(table)))
            rows.append([f"{name}: contain the measured gain", covered, n])
        rows.append(["factor by which intervals are widened", f"{validation.factor:.2f}", n])
    groups = choose_groups(curves, explained.labels, explained.families)
    factor = validation.factor if validation else 1
    for row in tabulate_gains(curves, groups, factor).head(SHOWN).to_dict("records"):
        name = f"gain by {row['more']} more photos per species, {row['group']}, points"
        gain, low, high = (100 * row[key] for key in ("gain", "gain_low", "gain_high"))
        n = f"{row['n_test']} photos, {row['species']} species"
        rows.append([name, f"{gain:.1f} ({low:.1f} to {high:.1f})", n])
    columns = ("", "value (95 % interval)", "n")
    report("learning-curves", "python -m benchmarks.learning_curves", columns, rows, save)


def format_points(figure: dict) -> str:
    """Format a figure in points with its interval."""
    value, (low, high) = figure["value"], figure["interval"]
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    typer.run(main)
