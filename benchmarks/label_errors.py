"""Measure how many planted label errors the label audit of explain.ipynb finds.

    python -m benchmarks.label_errors [RUN] [--seeds 5]

Some labels of a run's photos are changed, at random or to the species that is confused most with
their own, and the audit is repeated with these. Errors that were there before count as false, so
the real precision is higher.
"""

import numpy as np
import pandas as pd
import typer

from benchmarks.results import MODEL, RunFolder, Save, percent, report
from fieldmark.data.subclasses import class_names
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.photos.label_errors import judge_labels, predict_out_of_fold, sort_labels
from fieldmark.explain.pretrained import compute_pretrained_features
from fieldmark.statistics import wilson_interval

SHARES = (0.02, 0.05)
SHOWN = 20  # photos at the top of the list that a person certainly looks at
COLUMNS = (
    *("labels changed", "n", "found: flagged", "right among flagged", "right among the worst 20"),
    "right among the worst, as many as changed",
)


def main(run: RunFolder = MODEL, seeds: int = 5, weights: str = "", save: Save = False) -> None:
    """Print recall and precision for random and for confusable errors."""
    explained = ExplainedRun.load(run)
    features = compute_pretrained_features(explained, weights)
    _, labels = np.unique(class_names(explained.photos).to_numpy(str), return_inverse=True)
    confusable = find_confusable(predict_out_of_fold(features, labels, explained.photos), labels)
    rows = []
    for kind in ("random", "confusable"):
        for share in SHARES:
            counts = []
            for seed in range(seeds):
                given = plant_errors(
                    labels, share, seed, confusable if kind == "confusable" else None
                )
                probability = predict_out_of_fold(features, given, explained.photos, seed=seed)
                counts.append(count_found(judge_labels(probability, given), given != labels))
            rows.append([f"{100 * share:g} %, {kind}", *describe(pd.DataFrame(counts).sum())])
    report("label-errors", "python -m benchmarks.label_errors", COLUMNS, rows, save)


def find_confusable(probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the label that is confused most with each, [C], by mean probabilities [n, C]."""
    means = pd.DataFrame(probability).groupby(labels).mean().to_numpy(copy=True)
    np.fill_diagonal(means, -1)
    return means.argmax(1)


def plant_errors(
    labels: np.ndarray, share: float, seed: int, confusable: np.ndarray | None = None
) -> np.ndarray:
    """Return labels [n] of which a share is changed: at random, or to the `confusable` one."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(labels), round(share * len(labels)), replace=False)
    given = labels.copy()
    if confusable is None:
        classes = labels.max() + 1
        given[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    else:
        given[chosen] = confusable[labels[chosen]]
    return given


def count_found(table: pd.DataFrame, is_wrong: np.ndarray) -> dict[str, int]:
    """Count the wrong labels [n] among those that are flagged, and among the worst."""
    flagged = table["flagged"].to_numpy()
    order = sort_labels(table).index.to_numpy()
    planted = int(is_wrong.sum())
    return {
        "planted": planted,
        "flagged": int(flagged.sum()),
        "found": int((flagged & is_wrong).sum()),
        "shown": SHOWN,
        "among_shown": int(is_wrong[order[:SHOWN]].sum()),
        "among_planted": int(is_wrong[order[:planted]].sum()),
    }


def describe(total: pd.Series) -> list[str]:
    """Return the cells of a row, from the counts of all seeds together."""
    pairs = (("found", "planted"), ("found", "flagged"), ("among_shown", "shown"))
    pairs = (*pairs, ("among_planted", "planted"))
    shares = [percent(wilson_interval(total[part], total[whole])) for part, whole in pairs]
    return [f"{total['planted']:,}", *shares]


if __name__ == "__main__":
    typer.run(main)
