"""Write the rows of `fieldmark predict` as they come: as a table, CSV or JSON."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

STANDARD_OUTPUT = Path("-")
MAX_WIDTH = 60  # characters of a path in a table
Writer = Callable[[dict], None]


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """Yield a text file for writing, or standard output for `-`.

    Rows reach the file as they come, so that an interrupted job leaves those it had.
    """
    if path == STANDARD_OUTPUT:
        yield sys.stdout
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="", buffering=1) as file:
        yield file


@contextmanager
def csv_writer(path: Path) -> Iterator[Writer]:
    """Yield a function that writes the plain values of a row."""
    from birds.batch import COLUMNS

    with open_output(path) as file:
        rows = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        yield rows.writerow


@contextmanager
def json_writer(path: Path) -> Iterator[Writer]:
    """Yield a function that writes a row as an element of a JSON array, on a line of its own."""
    with open_output(path) as file:
        separators = iter(["[\n"])

        def write(row: dict) -> None:
            file.write(next(separators, ",\n") + json.dumps(row, ensure_ascii=False))

        yield write
        file.write("\n]\n")


@contextmanager
def table_writer(paths: list[Path]) -> Iterator[Writer]:
    """Yield a function that prints a row as a line for a person."""
    width = min(MAX_WIDTH, max(len(str(path)) for path in paths))
    print(f"{'photo':{width}}  answer")
    yield lambda row: print(f"{row['path']:{width}}  {row['error'] or row['text']}", flush=True)
