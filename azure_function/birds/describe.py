"""Tell a person what a model file is: `python -m birds.describe MODEL`."""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from .classifier import Classifier, ModelError

WIDTH = 88  # columns
FIRST = ("trained_on", "licence", "architecture", "precision", "preparation", "metrics")
FIRST += ("temperature", "thresholds", "strangers", "rehearsal", "heatmap", "gate")
LAST = ("coverage_by_family", "recipe", "versions")  # long, and of use to few; then the species
APART = {"name", "version", "labels", "drawn_photo"}  # told elsewhere, or read by machines only
NO_SHARE = re.compile(
    "auroc|ece|loss|likelihood|nll|brier|size|score|temperature|compared"
)  # not in per cent


def describe(card: dict, file: Path) -> str:
    """Write a card for a person: what is known by name in a fixed order, the rest as it stands."""
    rest = [name for name in card if name not in APART.union(FIRST, LAST)]
    told = [*FIRST, *rest, *LAST]
    lines = [f"{card['name']} {card['version']}", f"{file.name}, {megabytes(file)}", ""]
    for name in told:
        if name in card:
            lines += entry(name, card[name])
    species = ", ".join(each["common_name"] for each in card["labels"])
    return "\n".join([*lines, *entry(f"{len(card['labels'])} species", species)])


def entry(name: str, value: object, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the lines of one entry: on one where it is plain, else its parts indented below.

    `above` has the names of the entries that this one is a part of.
    """
    indent, path = "  " * len(above), (*above, name)
    start = f"{indent}{name.replace('_', ' ')}:"
    if value and isinstance(value, dict) and "value" not in value:
        yield start
        for key, each in value.items():
            yield from entry(str(key), each, path)
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        yield start
        for number, each in enumerate(value, 1):
            yield from entry(str(number), each, path)
    else:
        is_share = not NO_SHARE.search(" ".join(path).lower())
        text = f"{start} {plain(value, is_share)}"
        yield from textwrap.wrap(
            text, WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False
        )


def plain(value: object, is_share: bool = False) -> str:
    """Write a value that has no parts: text, number, list of these, or what was measured."""
    if isinstance(value, dict):
        return measured(value, is_share) if value else "none"
    if isinstance(value, list):
        return ", ".join(plain(each) for each in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def measured(found: dict, is_share: bool) -> str:
    """Write a measured value: "93.6 % (90.3 to 95.9 %), n = 299", and what else is known of it."""
    numbers = [found["value"], *(found.get("interval") or [])]
    if is_share and all(isinstance(each, int | float) and 0 <= each <= 1 for each in numbers):
        written, unit = [f"{100 * number:.1f}" for number in numbers], " %"
    else:
        written, unit = [plain(number) for number in numbers], ""
    text = written[0] + unit
    if len(written) == 3:
        text += f" ({written[1]} to {written[2]}{unit})"
    if "n" in found:
        text += f", n = {plain(found['n'])}"
    others = {key: each for key, each in found.items() if key not in ("value", "interval", "n")}
    return "".join([text, *(f", {key.replace('_', ' ')}: {plain(others[key])}" for key in others)])


def megabytes(file: Path) -> str:
    """Write the size of a file."""
    return f"{file.stat().st_size / 1e6:.1f} MB"


def main() -> int:
    """Describe one model file; 2 means that it can't be served, and why is told."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a birds.onnx")
    file = parser.parse_args().model
    try:
        print(describe(Classifier(file).card, file))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
