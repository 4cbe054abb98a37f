"""Describe a model file in text."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

WIDTH = 88  # columns
FIRST_KEYS = (
    *("trained_on", "licence", "architecture", "weights_dtype", "preparation", "metrics"),
    *("temperature", "thresholds", "out_of_distribution", "open_set_run", "heatmap", "gate"),
    *("training", "ensemble"),
)
LAST_KEYS = ("coverage_by_family", "recipe", "versions")  # long; then the species
OMITTED_KEYS = {"name", "version", "schema", "labels", "drawn_photo"}
NOT_A_PROPORTION = re.compile(
    "auroc|ece|loss|likelihood|nll|brier|size|score|temperature|compared"
)  # metrics between 0 and 1 that are not written in per cent


def describe(card: dict, file: Path) -> str:
    """Return the card of a species model or a finder as indented text, its main keys first.

    `file` is the model file; its name and size are included. Unfamiliar keys are included too.
    """
    other_keys = [key for key in card if key not in OMITTED_KEYS.union(FIRST_KEYS, LAST_KEYS)]
    megabytes = file.stat().st_size / 1e6
    lines = [f"{card['name']} {card['version']}", f"{file.name}, {megabytes:.1f} MB", ""]
    for key in [*FIRST_KEYS, *other_keys, *LAST_KEYS]:
        if key in card:
            lines += entry_lines(key, card[key])
    if labels := card.get("labels"):
        species = ", ".join(label["common_name"] for label in labels)
        lines += entry_lines(f"{len(labels)} species", species)
    return "\n".join(lines)


def entry_lines(key: str, value: object, parents: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the lines of one entry: a single one for plain values, else its parts indented.

    `parents` are the keys of the entries that contain this one.
    """
    indent, path = "  " * len(parents), (*parents, key)
    start = f"{indent}{key.replace('_', ' ')}:"
    if value and isinstance(value, dict) and "value" not in value:
        yield start
        for name, part in value.items():
            yield from entry_lines(str(name), part, path)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        yield start
        for number, item in enumerate(value, 1):
            yield from entry_lines(str(number), item, path)
    else:
        is_proportion = not NOT_A_PROPORTION.search(" ".join(path).lower())
        text = f"{start} {format_value(value, is_proportion)}"
        yield from textwrap.wrap(
            text, WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False
        )


def format_value(value: object, is_proportion: bool = False) -> str:
    """Format a text, a number, a list of these, or a metric."""
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, dict):
        return format_metric(value, is_proportion)
    if isinstance(value, list):
        return ", ".join(format_value(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def format_metric(metric: dict, is_proportion: bool) -> str:
    """Format a metric, like "93.6 % (90.3 to 95.9 %), n = 299", and its further keys."""
    numbers = [metric["value"], *(metric.get("interval") or [])]
    is_percent = is_proportion and all(
        isinstance(number, int | float) and 0 <= number <= 1 for number in numbers
    )
    unit = " %" if is_percent else ""
    texts = [f"{100 * n:.1f}" if is_percent else format_value(n) for n in numbers]
    text = texts[0] + unit
    if len(texts) == 3:
        text += f" ({texts[1]} to {texts[2]}{unit})"
    if "n" in metric:
        text += f", n = {format_value(metric['n'])}"
    for key in [key for key in metric if key not in ("value", "interval", "n")]:
        text += f", {key.replace('_', ' ')}: {format_value(metric[key])}"
    return text
