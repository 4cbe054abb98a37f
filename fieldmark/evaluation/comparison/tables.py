"""Tables that put runs side by side: numbers for a CSV file, and words for a page."""

import numpy as np
import pandas as pd

from fieldmark.environment import describe_machine
from fieldmark.run import Run

NOT_KNOWN = "–"
SHOWN = 10  # species on the page; the CSV file has all
COLUMNS = {
    "run": "run",
    "architecture": "architecture",
    "task": "names",
    "right": "first answer right, %",
    "n": "n",
    "f1": "macro F1",
    "parameters": "parameters, millions",
    "megabytes": "MB",
    "milliseconds": "ms a photo",
    "trained": "trained for",
}


def tasks(runs: list[Run]) -> dict[str, str]:
    """Name what each run tells apart, by its name; runs of one task have the same labels."""
    names, counts = {}, {}
    for run in runs:
        if run.labels not in names:
            size = len(run.labels)
            counts[size] = counts.get(size, 0) + 1
            other = f" ({counts[size]})" if counts[size] > 1 else ""
            names[run.labels] = f"{size} species{other}"
    return {run.name: names[run.labels] for run in runs}


def table(runs: list[Run], spent: dict[str, np.ndarray]) -> pd.DataFrame:
    """List what each run is, how well it does and what it costs; the best of each task first.

    `spent` holds milliseconds [rounds] by name; of those the median, and where 95 in 100 lie.
    """
    names, rows = tasks(runs), []
    for run in runs:
        row = {"run": run.name, "architecture": run.card["architecture"], "task": names[run.name]}
        for key in ("accuracy", "macro_f1"):
            value, (low, high) = run.metrics[key]["value"], run.metrics[key]["interval"]
            row |= {key: value, f"{key}_low": low, f"{key}_high": high}
        row |= {"n": len(run.predictions), "parameters": run.num_parameters}
        row |= {"bytes": run.model_file.stat().st_size}
        if run.name in spent:
            took = np.quantile(spent[run.name], [0.5, 0.025, 0.975])
            row |= dict(zip(("ms", "ms_low", "ms_high"), took, strict=True))
        machine = None if run.members else describe_machine(run.environment)
        row |= {"seconds": run.seconds, "machine": machine}
        rows.append(row | {"made_of": " and ".join(run.members)})
    found = pd.DataFrame(rows)
    found["task"] = pd.Categorical(found["task"], list(found["task"].value_counts().index))
    found = found.sort_values(["task", "accuracy"], ascending=[True, False], ignore_index=True)
    return found.assign(task=found["task"].astype(str))


def described(row: pd.Series) -> dict[str, str]:
    """Write a row of `table` in words."""
    timed = "ms" in row and not np.isnan(row["ms"])
    return {
        "run": row["run"],
        "architecture": row["architecture"],
        "task": row["task"],
        "right": interval(*(100 * row[f"accuracy{end}"] for end in ("", "_low", "_high"))),
        "n": f"{row['n']:,}",
        "f1": interval(*(row[f"macro_f1{end}"] for end in ("", "_low", "_high")), places=3),
        "parameters": number(row["parameters"], 1e6),
        "megabytes": number(row["bytes"], 1e6),
        "milliseconds": interval(row["ms"], row["ms_low"], row["ms_high"]) if timed else NOT_KNOWN,
        "trained": duration(row["seconds"]),
    }


def number(value: float | None, unit: float) -> str:
    """Write a number in a unit."""
    return NOT_KNOWN if pd.isna(value) else f"{value / unit:.1f}"


def interval(value: float, low: float, high: float, places: int = 1) -> str:
    """Write a value with its interval, and no -0."""
    value, low, high = (round(each, places) + 0.0 for each in (value, low, high))
    return f"{value:.{places}f} ({low:.{places}f} to {high:.{places}f})"


def duration(seconds: float | None) -> str:
    """Write seconds in the unit that fits."""
    if pd.isna(seconds):
        return NOT_KNOWN
    if seconds < 120:
        return f"{seconds:.1f} s"
    hours = seconds >= 7200
    return f"{seconds / (3600 if hours else 60):.1f} {'h' if hours else 'min'}"


def pair_words(row: pd.Series) -> dict[str, str]:
    """Write a row of `pairs.pairs` in words."""
    return {
        "better": row["first"],
        "than": row["second"],
        "by points": interval(row["points"], row["low"], row["high"], 2),
        "n": f"{row['n']:,}",
        "only it right": str(row["only_first"]),
        "only the other": str(row["only_second"]),
        "p": f"{row['p']:.2g}",
        "p, adjusted": f"{row['adjusted']:.2g}",
        "the difference is": "beyond noise" if row["beyond_noise"] else "within noise",
    }


def class_words(row: pd.Series, first: str, second: str) -> dict[str, str]:
    """Write a row of `pairs.by_class`, of runs with these names, in words."""
    return {
        "species": row["label"],
        "n": str(row["n"]),
        f"{first}, % right": f"{100 * row['recall_first']:.0f}",
        f"{second}, % right": f"{100 * row['recall_second']:.0f}",
        "points": f"{row['points']:+.0f}",
    }


def markdown(rows: list[dict[str, str]], heads: dict[str, str] | None = None) -> str:
    """Write rows as a table in Markdown, with their keys, or `heads` for them, above."""
    top = [heads[key] if heads else key for key in rows[0]]
    lines = [top, ["---"] * len(top), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
