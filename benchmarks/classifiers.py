"""Measure classic classifiers on the embeddings of a run's photos, beside its network.

    FIELDMARK_PHOTOS=... FIELDMARK_WEIGHTS=... python -m benchmarks.classifiers [RUN]

Fitted to the `train` photos, judged on `calibration`: on features of the fine-tuned network, and on
those of its backbone before it saw the labels, which FIELDMARK_WEIGHTS holds.
"""

from collections.abc import Iterator

import pandas as pd
import typer

from benchmarks.results import MODEL, RunFolder, Save, number, percent, report
from fieldmark.explain.classifiers import judge_classifiers
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.pretrained import compute_pretrained_features

COLUMNS = ("classifier", "features", "first prediction right", "points to the network", "p", "n")


def main(run: RunFolder = MODEL, save: Save = False) -> None:
    """Print the accuracy of each classifier, and its difference to the network."""
    explained = ExplainedRun.load(run)
    features = {
        "fine-tuned": explained.predictions.embedding,
        "pretrained": compute_pretrained_features(explained),
    }
    rows = list(format_rows(judge_classifiers(explained, features)))
    report("classifiers", "python -m benchmarks.classifiers", COLUMNS, rows, save)


def format_rows(table: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the cells of a table of `judge_classifiers`."""
    for row in table.to_dict("records"):
        accuracy = {"value": row["accuracy"], "interval": (row["low"], row["high"])}
        ends = row["difference_low"], row["difference_high"]
        difference = {"value": row["difference"], "interval": ends}
        compared = ["", ""]
        if row["features"]:
            p = "< 0.001" if row["adjusted"] < 0.001 else f"{row['adjusted']:.3f}"
            compared = [number(difference, 1, 100), p]
        yield [row["classifier"], row["features"], percent(accuracy), *compared, f"{row['n']}"]


if __name__ == "__main__":
    typer.run(main)
