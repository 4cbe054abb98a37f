"""Write the results of `fieldmark predict` as CSV or JSON, or print them as a table."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from fieldmark.bulk.results import Results
from fieldmark.files import atomic_path

STANDARD_OUTPUT = Path("-")
MAX_WIDTH = 60  # characters of a path in a table
CSV_COLUMNS = (
    *("path", "kind", "label", "common_name", "scientific_name", "probability", "shortlist"),
    *("taxon_rank", "taxon", "unknown_score", "text", "crop", "crop_from"),
    *("taken", "utc_offset", "camera", "latitude", "longitude", "error"),
)
JSON_COLUMNS = (*CSV_COLUMNS, "predictions", "boxes", "width", "height")


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """Yield a text file that appears whole at the end, or standard output for `-`."""
    if path == STANDARD_OUTPUT:
        yield sys.stdout
        return
    with atomic_path(path) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        yield file


def write_csv(results: Results, path: Path) -> None:
    """Write a row per photo, sorted by path; lists become texts, and what is missing is empty."""
    with open_output(path) as file:
        rows = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
        rows.writeheader()
        for row in read_rows(results, CSV_COLUMNS):
            lists = {"shortlist": ("; ", row["shortlist"]), "crop": (",", row["crop"])}
            texts = {
                key: separator.join(map(str, values)) if values is not None else None
                for key, (separator, values) in lists.items()
            }
            rows.writerow(row | texts)


def write_json(results: Results, path: Path, top: int) -> None:
    """Write an array with an object per photo, on a line of its own, with `top` predictions."""
    names = {
        label["label"]: {key: label[key] for key in ("label", "common_name", "scientific_name")}
        for label in results.manifest["labels"]
    }
    with open_output(path) as file:
        separator = "[\n"
        for row in read_rows(results, JSON_COLUMNS):
            first = (row["predictions"] or [])[:top]
            predictions = [names[each["label"]] | each for each in first]
            row |= {"predictions": predictions or None}
            row |= {"taken": row["taken"] and row["taken"].isoformat()}
            file.write(separator + json.dumps(row, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]\n")


def read_rows(results: Results, columns: Iterable[str]) -> Iterator[dict]:
    """Yield rows as dictionaries, sorted by path."""
    for batch in results.read_table(list(columns)).to_batches(1000):
        yield from batch.to_pylist()


def print_lines(paths: list[str], rows: Iterable[dict]) -> None:
    """Print a line for each row as it comes; `paths` are those of all."""
    width = min(MAX_WIDTH, max(map(len, paths)))
    print(f"{'photo':{width}}  answer")
    for row in rows:
        print(f"{row['path']:{width}}  {row['error'] or row['text']}", flush=True)
