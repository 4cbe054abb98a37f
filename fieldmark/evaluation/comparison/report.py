"""Compare finished runs, from the files in their folders, on one page."""

import platform
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

from birds.classifier import Classifier, ModelError
from fieldmark import plotting
from fieldmark.environment import cpu_name
from fieldmark.errors import RunError
from fieldmark.evaluation.comparison import plots, tables
from fieldmark.evaluation.comparison.pairs import SIGNIFICANCE, compare_classes, compare_pairs
from fieldmark.evaluation.latency import measure_latency
from fieldmark.files import write_text
from fieldmark.run import Run, write_table

TABLES = ("table", "pairs", "classes")
FIGURES = {
    "pareto": "accuracy against milliseconds, and the Pareto front",
    "curves": "loss and accuracy, by epoch and by second",
    "classes": "the species whose recall differs most",
}


def compare_runs(runs: list[Run], out: Path, rounds: int) -> str:
    """Compare runs; write tables, figures and the page into `out`, and return the page (Markdown).

    Each model file is timed `rounds` times; 0 measures no times.
    """
    outdated = [f"{name}.csv" for name in TABLES] + [f"figures/{name}.png" for name in FIGURES]
    for name in outdated:
        (out / name).unlink(missing_ok=True)
    table = tables.summarise_runs(runs, measure_times(runs, rounds))
    by_name = {run.name: run for run in runs}
    runs = [by_name[name] for name in table["run"]]
    pairs, not_compared = compare_pairs(runs)
    write_table(out / "table.csv", table)
    write_table(out / "pairs.csv", pairs)
    sections = [describe_runs(table, rounds), describe_pairs(pairs, not_compared)]
    figures = {}
    if rounds:
        figures["pareto"] = plots.plot_pareto(table)
    if histories := {run.name: run.history for run in runs if len(run.history)}:
        figures["curves"] = plots.plot_curves(histories)
    if names := find_best_pair(runs, pairs):
        classes = compare_classes(*(by_name[name] for name in names))
        write_table(out / "classes.csv", classes)
        sections.append(describe_classes(classes, *names))
        if classes["points"].abs().max() > 0:
            figures["classes"] = plots.plot_class_differences(classes, *names)
    if figures:
        sections.append(["## Figures"])
    for name, figure in figures.items():
        plotting.save_figure(figure, out / "figures", name)
        sections.append([f"![{FIGURES[name]}](figures/{name}.png)"])
    page = "# Comparison\n\n" + "\n\n".join("\n".join(lines) for lines in sections) + "\n"
    write_text(out / "index.md", page)
    return page


def measure_times(runs: list[Run], rounds: int) -> dict[str, np.ndarray]:
    """Return milliseconds [rounds] of each run's model file on one thread; they take turns.

    Raises RunError if a model file cannot be loaded.
    """
    classifiers = {}
    for run in runs if rounds else []:
        try:
            classifiers[run.name] = Classifier(run.model_file, threads=1)
        except ModelError as error:
            raise RunError(f"{run.folder}: {error}") from error
    return measure_latency(classifiers, rounds)


def find_best_pair(runs: list[Run], pairs: pd.DataFrame) -> list[str]:
    """Return the names of the two most accurate runs that were compared, [] if there are none."""
    accuracy = {run.name: run.metrics["accuracy"]["value"] for run in runs}
    compared = pairs[["first", "second"]].to_numpy().tolist()
    ranked = [sorted(names, key=accuracy.__getitem__, reverse=True) for names in compared]
    return max(ranked, key=lambda names: [accuracy[name] for name in names], default=[])


def describe_runs(table: pd.DataFrame, rounds: int) -> list[str]:
    """Return the lines about accuracy and costs of each run."""
    intervals = "In brackets: 95 % intervals; for milliseconds, the central 95 % of all timings."
    lines = [tables.format_runs(table), "", f"{date.today()}. {intervals}"]
    if rounds:
        lines.append(
            f"Milliseconds: birds.onnx with one prepared photo on one thread, {rounds} timings, "
            f"files taking turns; {cpu_name()}, {platform.system()}, "
            f"onnxruntime {onnxruntime.__version__}."
        )
    for machine, names in table.groupby("machine", sort=False)["run"]:
        lines.append(f"Trained on {machine}: {', '.join(names)}.")
    for row in table[table["members"] != ""].itertuples():
        lines.append(f"Ensemble of {row.members}: {row.run}.")
    return lines


def describe_pairs(pairs: pd.DataFrame, not_compared: pd.DataFrame) -> list[str]:
    """Return the lines about which differences are significant, and which pairs have no test."""
    lines = ["## Which differences are significant?", ""]
    if len(pairs):
        lines += [
            tables.format_pairs(pairs),
            "",
            "On the photos that evaluated both runs and trained neither. Significant: McNemar's",
            f"exact test gives p < {SIGNIFICANCE}, adjusted (Holm) for the number of pairs, "
            f"{len(pairs)}.",
        ]
    for why, group in not_compared.groupby("why", sort=False):
        names = "; ".join(" and ".join(row) for row in group[["first", "second"]].to_numpy())
        lines += ["", f"Not compared, since {why}: {names}."]
    if not len(pairs) and not len(not_compared):
        lines.append("There is only one run.")
    return lines


def describe_classes(classes: pd.DataFrame, first: str, second: str) -> list[str]:
    """Return the lines about the species whose recall differs between two runs."""
    different = classes[classes["points"].abs() > 0]
    return [
        f"## Recall per species: {first} and {second}\n",
        *([f"{tables.format_classes(different, first, second)}\n"] if len(different) else []),
        f"{len(different)} of {len(classes)} species differ; classes.csv lists all.",
        "With few photos per species these differences are hints, not results.",
    ]
