"""Compare attribution methods on calibration photos: deletion, insertion, agreement, time.

    FIELDMARK_PHOTOS=... python -m benchmarks.attribution [RUN] [--photos 100] [--save]

A photo takes one thread about 10 seconds. The photos are a random sample of seed 0; a smaller
sample is the beginning of a larger one. Each method explains the predicted label. Differences are
those from the served heat map on the same photos, with bootstrap intervals.
"""

import pandas as pd
import torch
import typer

from benchmarks.results import MODEL, RunFolder, Save, number, report
from fieldmark.explain.attribution.methods import CLASS_MAP, METHODS
from fieldmark.explain.attribution.scores import sample_photos, score_methods, summarize
from fieldmark.explain.explained_run import ExplainedRun

COLUMNS = {  # title: measure, against
    "deletion (low is good)": ("deletion", ""),
    "deletion minus class map's": ("deletion", CLASS_MAP),
    "insertion (high is good)": ("insertion", ""),
    "insertion minus class map's": ("insertion", CLASS_MAP),
    "rank correlation with class map": ("agreement", ""),
}


def main(run: RunFolder = MODEL, photos: int = 100, save: Save = False) -> None:
    """Print the scores of all methods."""
    torch.set_num_threads(1)
    explained = ExplainedRun.load(run)
    sample = sample_photos(explained.held_out, photos)
    scores = score_methods(explained, sample)
    figures = summarize(scores).set_index(["method", "measure", "against"])
    rows: list[list[str]] = [list_cells(name, figures) for name in scores.methods]
    rows += [[name, f"not supported: {reason}"] for name, reason in scores.unsupported.items()]
    columns = ["method", *COLUMNS, "times the class map's time", "missed of the logit"]
    command = f"python -m benchmarks.attribution --photos {len(sample)}"
    report("attribution", command, columns, rows, save)


def list_cells(name: str, figures: pd.DataFrame) -> list[str]:
    """Return the cells of a method."""
    cells = [name]
    for key in COLUMNS.values():
        found = (name, *key) in figures.index and not (name == CLASS_MAP and key[0] == "agreement")
        cells.append(number(get_figure(figures, (name, *key))) if found else "")
    cells.append(number(get_figure(figures, (name, "seconds", "")), 1))
    if not METHODS[name].complete:
        return [*cells, ""]
    return [*cells, number(get_figure(figures, (name, "residual", "")), 2, 100, " %")]


def get_figure(figures: pd.DataFrame, key: tuple[str, str, str]) -> dict:
    """Return a row of the summary as fieldmark.statistics returns a figure."""
    row = figures.loc[[key]].to_dict("records")[0]
    return {"value": row["value"], "interval": [row["low"], row["high"]]}


if __name__ == "__main__":
    typer.run(main)
