"""Read paths of photos from a column of a CSV or Parquet file."""

import csv
import io
from pathlib import PurePath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fieldmark.bulk.addresses import Location, SourceError, access_error, is_address

CSV, PARQUET = ".csv", ".parquet"


def is_list(source: str) -> bool:
    """Return whether a source has the name of a list of paths."""
    return source.lower().endswith((CSV, PARQUET))


def read_list(source: str, column: str) -> list[str]:
    """Return the paths in a column; relative ones start from the folder of the list.

    Empty cells are left out. Raises SourceError.
    """
    read_column = read_parquet if source.lower().endswith(PARQUET) else read_csv
    try:
        with Location(source).open_file() if is_address(source) else open(source, "rb") as file:
            paths = read_column(file, source, column)
    except OSError as error:
        raise access_error(source, error) from error
    return [resolve(path, source) for path in paths if path]


def resolve(path: str, source: str) -> str:
    """Return a path of a list, which is relative to the list's folder, absolute or an address."""
    if is_address(path):
        return path
    if is_address(source):
        return f"{source.rsplit('/', 1)[0]}/{path}"
    return str(PurePath(source).parent / path)


def read_parquet(file: BinaryIO, source: str, column: str) -> list[str | None]:
    """Return a column of a Parquet file; raises SourceError."""
    try:
        table = pq.ParquetFile(file)
        check_column(column, table.schema_arrow.names, source)
        return table.read([column])[column].cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise SourceError(f"{source} is not a Parquet file with texts in {column}.") from error


def read_csv(file: BinaryIO, source: str, column: str) -> list[str]:
    """Return a column of a CSV file; raises SourceError.

    The file is in UTF-8, and the first line decides between commas, semicolons and tabs.
    """
    try:
        with io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
            header = lines.readline()
            separator = max(",;\t", key=header.count)
            names = next(csv.reader([header], delimiter=separator), [])
            check_column(column, names, source)
            position = names.index(column)
            rows = csv.reader(lines, delimiter=separator)
            return [row[position] for row in rows if len(row) > position]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            f"{source} is not a CSV file in UTF-8: {error}. Save it as such, or as Parquet."
        ) from error


def check_column(column: str, names: list[str], source: str) -> None:
    """Raise SourceError for a column that a list lacks."""
    if column not in names:
        raise SourceError(
            f"{source} has no column {column}. It has {', '.join(names) or 'none'}: choose one "
            "with --column."
        )
