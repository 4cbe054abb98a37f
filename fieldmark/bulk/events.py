"""Photos that one camera takes in quick succession are one event, which has one answer."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq

from fieldmark.bulk.event_answers import ANSWER, combine_answers
from fieldmark.bulk.results import Results, ResultsError
from fieldmark.bulk.rows import SCHEMA
from fieldmark.bulk.sparse_predictions import SparsePredictions
from fieldmark.errors import UserError
from fieldmark.files import atomic_path

pc: Any = pyarrow.compute  # its functions are made at run time
INTERVAL = 60.0  # seconds
PLACES = (
    pa.field("event", pa.string(), nullable=False),  # the path of its first photo
    ("camera", pa.string()),  # its folder, or the camera that EXIF states
    ("start", pa.timestamp("s")),  # local time of the camera; null where photos have no time
    ("end", pa.timestamp("s")),
    ("photos", pa.int32()),  # how many
    ("paths", pa.list_(pa.string())),  # by time
)
EVENTS = pa.schema([*PLACES, *ANSWER])
READ = ("path", "taken", "camera", *ANSWER.names)
By = Literal["folder", "exif"]


class Events(NamedTuple):
    """Events, a row of EVENTS each, by camera and time; how many photos they have.

    `undated` photos have no time and so are events of their own; `broken` ones were not read and
    are left out.
    """

    table: pa.Table
    photos: int
    undated: int
    broken: int


def find_events(results: Results, interval: float = INTERVAL, by: By = "folder") -> Events:
    """Return the events of results: photos of a camera with gaps of at most `interval` seconds.

    A camera is a folder, or by `exif` the make, model and serial number that photos state; those
    that state none have that of their folders. An event of one photo has that photo's answer,
    others that of `birds.same_bird`. Raises ResultsError if no photo was read.
    """
    photos, predictions = read_photos(results)
    if not len(photos):
        raise ResultsError(f"No photo in {results.folder} could be read, so there are no events.")
    photos = photos.set_column(2, "camera", list_cameras(photos, by))
    keys = [(name, "ascending") for name in ("camera", "taken", "path")]
    order = pc.sort_indices(photos, keys).to_numpy()
    unknown = photos["unknown_score"].to_numpy()
    places = photos.select(["path", "taken", "camera"]).take(order)
    starts = find_starts(places, interval)
    counts = np.diff(starts, append=len(places))
    several = counts > 1
    groups = [order[starts[i] : starts[i] + counts[i]] for i in np.flatnonzero(several)]
    combined = combine_answers(groups, predictions, unknown, results.manifest)
    alone = photos.select(ANSWER.names).take(order[starts[~several]])
    rows = np.argsort(np.append(np.flatnonzero(~several), np.flatnonzero(several)))
    answers = pa.concat_tables([alone, combined]).take(rows)
    table = join_events(places, starts, counts, answers)
    undated = photos["taken"].null_count
    return Events(table, len(photos), undated, len(results) - len(photos))


def read_photos(results: Results) -> tuple[pa.Table, SparsePredictions]:
    """Return the columns READ of the photos that were read, and their predictions in one place."""
    predictions = SparsePredictions([label["label"] for label in results.manifest["labels"]])
    batches = []
    for batch in results.read_batches([*READ, "error"]):
        read = batch.filter(pc.is_null(batch["error"])).select(READ)
        predictions.append(read["predictions"])
        batches.append(read)
    predictions.finish()
    return pa.Table.from_batches(batches, pa.schema([SCHEMA.field(n) for n in READ])), predictions


def list_cameras(photos: pa.Table, by: By) -> pa.ChunkedArray:
    """Return the camera of each photo: its folder, or what EXIF states."""
    folders = pc.replace_substring_regex(photos["path"], r"[/\\]?[^/\\]*$", "")
    return pc.coalesce(photos["camera"], folders) if by == "exif" else folders


def find_starts(photos: pa.Table, interval: float) -> np.ndarray:
    """Return the rows at which events start, of photos sorted by camera and time."""
    cameras: Any = photos["camera"].combine_chunks().dictionary_encode()
    codes = cameras.indices.to_numpy()
    gaps = np.diff(photos["taken"].to_numpy()) / np.timedelta64(1, "s")  # NaN without a time
    is_start = (np.diff(codes) != 0) | ~(gaps <= interval)
    return np.flatnonzero(np.append(True, is_start))


def join_events(
    photos: pa.Table, starts: np.ndarray, counts: np.ndarray, answers: pa.Table
) -> pa.Table:
    """Return the rows of EVENTS, given the photos sorted by event and the answers of events."""
    first, last = photos.take(starts), photos.take(starts + counts - 1)
    offsets = pa.array(np.append(starts, len(photos)), pa.int32())
    columns = [
        *(first["path"], first["camera"], first["taken"], last["taken"]),
        pa.array(counts, pa.int32()),
        pa.ListArray.from_arrays(offsets, photos["path"].combine_chunks()),
        *answers.columns,
    ]
    return pa.table(columns, EVENTS)


def write_events(table: pa.Table, file: Path) -> None:
    """Write events as Parquet, or as CSV without `predictions`; lists are separated by "; ".

    Raises UserError for another kind of file.
    """
    if file.suffix not in (".csv", ".parquet"):
        raise UserError(f"Events cannot be written to {file}. Name a file .csv or .parquet.")
    with atomic_path(file, table.nbytes) as scratch:
        if file.suffix == ".parquet":
            pq.write_table(table, scratch, compression="zstd")
            return
        table = table.drop_columns("predictions")
        for name in ("paths", "shortlist"):
            joined = pc.binary_join(table[name], "; ")
            table = table.set_column(table.column_names.index(name), name, joined)
        pyarrow.csv.write_csv(table, scratch)
