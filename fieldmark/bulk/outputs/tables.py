"""Write results as one CSV, JSON or Parquet file."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from fieldmark.bulk.results import Results
from fieldmark.bulk.rows import SCHEMA
from fieldmark.files import atomic_path

STANDARD_OUTPUT = Path("-")
MAX_SORTED = 100_000  # rows that are sorted, in 100 MB; more pass in the order of their files
COLUMNS = [name for name in SCHEMA.names if name != "embedding"]  # of texts; Parquet has all


def read_rows(results: Results, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of results, sorted by path unless they are more than MAX_SORTED."""
    names = columns or COLUMNS
    if len(results) <= MAX_SORTED:
        batches = iter(results.read_table(names).to_batches())
    else:
        batches = results.read_batches(names)
    for batch in batches:
        for start in range(0, batch.num_rows, 1000):  # of which Python has copies at a time
            yield from batch.slice(start, 1000).to_pylist()


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """Yield a text file that appears whole at the end, or standard output for `-`."""
    if path == STANDARD_OUTPUT:
        yield sys.stdout
        return
    with atomic_path(path) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        yield file


def write_parquet(results: Results, path: Path) -> None:
    """Write all rows and columns into one Parquet file."""
    with atomic_path(path) as scratch, pq.ParquetWriter(scratch, SCHEMA, compression="zstd") as out:
        for batch in results.read_batches():
            out.write_table(pa.Table.from_batches([batch], SCHEMA))


def write_csv(results: Results, path: Path) -> None:
    """Write a CSV file in UTF-8; see `as_text` for lists."""
    with open_output(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for row in read_rows(results):
            rows.writerow([as_text(row[name]) for name in COLUMNS])


def as_text(value: Any) -> Any:
    """Return a value of a row as a cell of a CSV file.

    Labels are separated by "; ", the numbers of a crop by commas; boxes and predictions are JSON.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return round(value, 6)
    if not isinstance(value, list):
        return value
    if value and isinstance(value[0], dict):
        return json.dumps([rounded(item) for item in value], ensure_ascii=False)
    return ("; " if value and isinstance(value[0], str) else ",").join(map(str, value))


def rounded(item: dict) -> dict:
    """Return a dictionary with its numbers rounded."""
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in item.items()}


def write_json(results: Results, path: Path, top: int | None = None) -> None:
    """Write a JSON array with an object per photo, each on a line of its own.

    `predictions` have the form of the HTTP API; `top` limits how many.
    """
    names = {
        label["label"]: {key: label[key] for key in ("label", "common_name", "scientific_name")}
        for label in results.manifest["labels"]
    }
    with open_output(path) as file:
        separators = iter(["[\n"])
        for row in read_rows(results):
            if row["predictions"]:
                row["predictions"] = [names[p["label"]] | p for p in row["predictions"][:top]]
            text = json.dumps(row, ensure_ascii=False, default=datetime.isoformat)
            file.write(next(separators, ",\n") + text)
        file.write(next(separators, "") + "\n]\n")
