"""Tables that compare runs: numbers for CSV files, formatted text for the page."""

import numpy as np
import pandas as pd

from fieldmark.environment import describe_machine
from fieldmark.run import Run

MISSING = "–"
SHOWN = 10  # species on the page; the CSV file has all


def name_tasks(runs: list[Run]) -> dict[str, str]:
    """Return what each run distinguishes, such as "100 species"; runs of one task share labels."""
    tasks: dict[frozenset, str] = {}
    for run in runs:
        same_size = sum(len(labels) == len(run.labels) for labels in tasks)
        suffix = f" ({same_size + 1})" if same_size else ""
        tasks.setdefault(run.labels, f"{len(run.labels)} species{suffix}")
    return {run.name: tasks[run.labels] for run in runs}


def summarise_runs(runs: list[Run], times: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return a row per run: metrics, size, speed and training time; the best of each task first.

    `times` has milliseconds [rounds] by run; `ms` is their median, `ms_low` and `ms_high` the
    central 95 % of them.
    """
    tasks, rows = name_tasks(runs), []
    for run in runs:
        row = {"run": run.name, "architecture": run.card["architecture"], "task": tasks[run.name]}
        for key in ("accuracy", "macro_f1"):
            value, (low, high) = run.metrics[key]["value"], run.metrics[key]["interval"]
            row |= {key: value, f"{key}_low": low, f"{key}_high": high}
        ms, low, high = np.quantile(times.get(run.name, [np.nan]), [0.5, 0.025, 0.975])
        rows.append(
            row
            | {"n": len(run.predictions), "parameters": run.num_parameters}
            | {"bytes": run.model_file.stat().st_size}
            | {"ms": ms, "ms_low": low, "ms_high": high, "seconds": run.seconds}
            | {"machine": None if run.members else describe_machine(run.environment)}
            | {"members": " and ".join(run.members)}
        )
    table = pd.DataFrame(rows).sort_values("accuracy", ascending=False)
    common_first = list(table["task"].value_counts().index)
    by_task = {"key": lambda task: task.map(common_first.index), "kind": "stable"}
    return table.sort_values("task", **by_task, ignore_index=True)


def format_runs(table: pd.DataFrame) -> str:
    """Return the rows of `summarise_runs` as a Markdown table."""
    columns = {
        "run": table["run"],
        "architecture": table["architecture"],
        "distinguishes": table["task"],
        "accuracy, %": format_intervals(100 * table.filter(regex="^accuracy")),
        "n": table["n"].map("{:,}".format),
        "macro F1": format_intervals(table.filter(regex="^macro_f1"), digits=3),
        "parameters, millions": (table["parameters"] / 1e6).map("{:.1f}".format),
        "MB": (table["bytes"] / 1e6).map("{:.1f}".format),
        "ms per photo": format_intervals(table.filter(regex="^ms")),
        "training time": table["seconds"].map(format_duration),
    }
    return to_markdown(pd.DataFrame(columns))


def format_pairs(pairs: pd.DataFrame) -> str:
    """Return the rows of `compare_pairs` as a Markdown table."""
    columns = {
        "better": pairs["first"],
        "than": pairs["second"],
        "by points": format_intervals(pairs[["points", "low", "high"]], digits=2),
        "n": pairs["n"].map("{:,}".format),
        "correct in the first only": pairs["only_first"].map(str),
        "in the second only": pairs["only_second"].map(str),
        "p": pairs["p"].map("{:.2g}".format),
        "p, adjusted": pairs["adjusted"].map("{:.2g}".format),
        "significant": pairs["significant"].map({True: "yes", False: "no"}),
    }
    return to_markdown(pd.DataFrame(columns))


def format_classes(classes: pd.DataFrame, first: str, second: str) -> str:
    """Return the first rows of `compare_classes` of two named runs as a Markdown table."""
    shown = classes.head(SHOWN)
    columns = {
        "species": shown["label"],
        "n": shown["n"].map(str),
        f"{first}, recall, %": (100 * shown["recall_first"]).map("{:.0f}".format),
        f"{second}, recall, %": (100 * shown["recall_second"]).map("{:.0f}".format),
        "points": shown["points"].map("{:+.0f}".format),
    }
    return to_markdown(pd.DataFrame(columns))


def to_markdown(table: pd.DataFrame) -> str:
    """Return a Markdown table whose cells are shown as they are."""
    return table.to_markdown(index=False, disable_numparse=True, missingval=MISSING)


def format_intervals(values: pd.DataFrame, digits: int = 1) -> pd.Series:
    """Return "value (low to high)" for each row of three columns; missing values get a dash."""
    ends = values.round(digits) + 0.0  # no -0.0
    value, low, high = (ends[name].map(f"{{:.{digits}f}}".format) for name in ends)
    return (value + " (" + low + " to " + high + ")").where(ends.notna().all(axis=1), MISSING)


def format_duration(seconds: float | None) -> str:
    """Return seconds in a suitable unit."""
    if pd.isna(seconds):
        return MISSING
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
