"""Put finished runs side by side, from the files that they left."""

import platform
from datetime import date
from itertools import combinations
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

from birds.classifier import Classifier, ModelError
from fieldmark import plotting as plots
from fieldmark.environment import cpu_name
from fieldmark.errors import RunError
from fieldmark.evaluation.comparison import pairs
from fieldmark.evaluation.comparison import plots as compare_plots
from fieldmark.evaluation.comparison.tables import (
    COLUMNS,
    SHOWN,
    class_words,
    described,
    markdown,
    pair_words,
    table,
)
from fieldmark.evaluation.latency import timed
from fieldmark.run import Run

RUNS = Path("runs")
OUT = RUNS / "comparison"
TABLES = ("table", "pairs", "classes")
FIGURES = {
    "pareto": "accuracy against milliseconds, and the Pareto front",
    "curves": "loss and accuracy, by epoch and by second",
    "classes": "the species whose recall differs most",
}


def compare(runs: list[Run], out: Path, rounds: int) -> str:
    """Compare runs, write tables and figures into `out`, and return the page about them.

    Each model file is asked for a photo `rounds` times, 0 for no times to be measured.
    """
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for old in (*(f"{name}.csv" for name in TABLES), *(f"figures/{name}.png" for name in FIGURES)):
        (out / old).unlink(missing_ok=True)
    found = table(runs, speeds(runs, rounds))
    by_name = {run.name: run for run in runs}
    runs = [by_name[name] for name in found["run"]]
    told, not_compared = pairs.pairs(runs)
    page = ["# Comparison", "", *first_part(found, rounds), *second_part(told, not_compared)]
    found.to_csv(out / "table.csv", index=False)
    told.to_csv(out / "pairs.csv", index=False)
    if best := best_two(runs, told):
        classes = pairs.by_class(*best)
        classes.to_csv(out / "classes.csv", index=False)
        page += third_part(classes, *best)
        if classes["points"].abs().max() > 0:
            figure = compare_plots.class_differences(classes, best[0].name, best[1].name)
            plots.save(figure, out, "classes")
    if rounds:
        plots.save(compare_plots.pareto(found), out, "pareto")
    histories = {run.name: run.history for run in runs if len(run.history)}
    if histories:
        plots.save(compare_plots.curves(histories), out, "curves")
    drawn = [name for name in FIGURES if (out / f"figures/{name}.png").is_file()]
    page += ["## Figures", ""] if drawn else []
    for name in drawn:
        page += [f"![{FIGURES[name]}](figures/{name}.png)", ""]
    text = "\n".join(page)
    (out / "index.md").write_text(text, encoding="utf-8")
    return text


def speeds(runs: list[Run], rounds: int) -> dict[str, np.ndarray]:
    """Take the milliseconds of each run's model file, on one thread, in turns.

    Raises RunError for a file that can't be served.
    """
    classifiers = {}
    for run in runs if rounds else []:
        try:
            classifiers[run.name] = Classifier(run.model_file, threads=1)
        except ModelError as error:
            raise RunError(f"{run.folder}: {error}") from error
    return timed(classifiers, rounds)


def best_two(runs: list[Run], told: pd.DataFrame) -> tuple[Run, Run] | None:
    """Return the two most accurate runs that can be compared, None if no two can."""
    can = {frozenset(each) for each in told[["first", "second"]].to_numpy().tolist()}
    order = sorted(runs, key=lambda run: run.metrics["accuracy"]["value"], reverse=True)
    both = (two for two in combinations(order, 2) if {run.name for run in two} in can)
    return next(both, None)


def first_part(found: pd.DataFrame, rounds: int) -> list[str]:
    """Write what each run is, how well it does and what it costs."""
    rows = [described(row) for _, row in found.iterrows()]
    lines = [
        markdown(rows, COLUMNS),
        "",
        f"{date.today()}. In brackets: 95 % intervals; of milliseconds, where 95 in 100 lie.",
    ]
    if rounds:
        lines.append(
            f"Milliseconds: of birds.onnx and one prepared photo, on one thread, {rounds} times "
            f"in turns; {cpu_name()}, {platform.system()}, onnxruntime {onnxruntime.__version__}."
        )
    for machine, names in found.groupby("machine", sort=False)["run"]:
        lines.append(f"Trained on {machine}: {', '.join(names)}.")
    for name, parts in found.loc[found["made_of"] != "", ["run", "made_of"]].to_numpy():
        lines.append(f"Made of {parts}: {name}.")
    return [*lines, ""]


def second_part(told: pd.DataFrame, not_compared: pd.DataFrame) -> list[str]:
    """Write which differences are beyond noise, and which pairs can't be told."""
    lines = ["## Which differences are beyond noise?", ""]
    if len(told):
        lines += [markdown([pair_words(row) for _, row in told.iterrows()]), ""]
        lines += [
            "On the photos that judged both and taught neither. Beyond noise: the exact test of",
            f"McNemar gives p below {pairs.LEVEL}, adjusted (Holm) for {len(told)} "
            f"{'pairs' if len(told) > 1 else 'pair'}.",
        ]
    lines += [""] if len(told) and len(not_compared) else []
    for why, group in not_compared.groupby("why", sort=False):
        names = (f"{one} and {other}" for one, other in group[["first", "second"]].to_numpy())
        lines.append(f"- Not compared, since {why}: {'; '.join(names)}.")
    if not len(told) and not len(not_compared):
        lines.append("There is one run only.")
    return [*lines, ""]


def third_part(classes: pd.DataFrame, first: Run, second: Run) -> list[str]:
    """Write which species one run of two names better."""
    differ = classes[classes["points"].abs() > 0]
    lines = [f"## Species by species: {first.name} beside {second.name}", ""]
    if len(differ):
        shown = (row for _, row in differ.head(SHOWN).iterrows())
        rows = [class_words(row, first.name, second.name) for row in shown]
        lines += [markdown(rows), ""]
    lines.append(f"{len(differ)} of {len(classes)} species differ; classes.csv has all of them.")
    return [*lines, "With few photos a species this says where to look, not what is so.", ""]
