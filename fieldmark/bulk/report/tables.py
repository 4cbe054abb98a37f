"""Aggregate results for a report, in one pass and little memory."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pandas as pd

from fieldmark.bulk.results import Results

COLUMNS = [
    *("path", "kind", "label", "probability", "unknown_score"),
    *("taken", "camera", "crop", "text", "error"),
]
SHOWN = 12  # photos of the strangest and of the least certain
OF_A_SPECIES = 6  # photos of a contact sheet from each end
NO_CAMERA = "not stated"


class Photo(NamedTuple):
    """A photo to show."""

    path: str
    label: str
    probability: float
    unknown_score: float
    text: str
    crop: list[int] | None


class Summary(NamedTuple):
    """What a report says: counts by label, kind, day, hour, month, camera and error, and photos.

    `labels` counts photos by first prediction, without those called unknown. Times are those of
    the cameras' clocks; `timed` photos have one.
    """

    photos: int
    kinds: Counter
    labels: Counter
    days: Counter
    hours: Counter
    months: Counter
    cameras: Counter
    errors: Counter
    timed: int
    strangest: list[Photo]
    least_certain: list[Photo]
    most_certain_of: dict[str, list[Photo]]
    least_certain_of: dict[str, list[Photo]]


def summarize(results: Results) -> Summary:
    """Return the summary of all rows."""
    kinds, labels, cameras, errors = Counter(), Counter(), Counter(), Counter()
    days, hours, months = Counter(), Counter(), Counter()
    photos = timed = 0
    strangest = least = sheets = rows_of_none()
    for batch in results.read_batches(COLUMNS):
        rows = batch.to_pandas()
        photos += len(rows)
        add(errors, rows["error"].dropna())
        rows = rows[rows["error"].isna()]
        known = rows[rows["kind"] != "unknown"]
        add(kinds, rows["kind"])
        add(labels, known["label"])
        add(cameras, rows["camera"].fillna(NO_CAMERA))
        timed += int(rows["taken"].notna().sum())
        taken = known["taken"].dropna()
        add(days, taken.dt.strftime("%Y-%m-%d"))
        add(hours, taken.dt.hour)
        add(months, taken.dt.month)
        strangest = rank(join(strangest, rows), "unknown_score", largest=True)[:SHOWN]
        least = rank(join(least, known), "probability")[:SHOWN]
        sheets = keep_ends(join(sheets, known))
    return Summary(
        *(photos, kinds, labels, days, hours, months, cameras, errors, timed),
        *(to_photos(strangest), to_photos(least), *split_sheets(sheets)),
    )


def rank(rows: pd.DataFrame, column: str, largest: bool = False) -> pd.DataFrame:
    """Return rows sorted by a column, equal ones by path."""
    return rows.sort_values([column, "path"], ascending=[not largest, True])


def add(counter: Counter, values: pd.Series) -> None:
    """Add the counts of values to a counter."""
    for value, count in values.value_counts().items():
        counter[value] += int(count)


def keep_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the most and the least certain rows of each label, least certain first."""
    rows = rank(rows, "probability")
    groups = rows.groupby("label", sort=False)
    number, size = groups.cumcount(), groups["label"].transform("size")
    return rows[(number < OF_A_SPECIES) | (number >= size - OF_A_SPECIES)]


def split_sheets(rows: pd.DataFrame) -> tuple[dict[str, list[Photo]], dict[str, list[Photo]]]:
    """Return the most and the least certain photos of each label, none in both."""
    most: dict[str, list[Photo]] = {}
    least: dict[str, list[Photo]] = {}
    for label in rows["label"].unique():
        group = rows[rows["label"] == label]
        half = min(OF_A_SPECIES, len(group) // 2)
        least[label] = to_photos(group.head(half))
        most[label] = to_photos(group.tail(min(OF_A_SPECIES, len(group) - half))[::-1])
    return most, least


def rows_of_none() -> pd.DataFrame:
    """Return a table without rows."""
    numbers = {name: np.empty(0) for name in ("probability", "unknown_score")}
    return pd.DataFrame({name: numbers.get(name, []) for name in COLUMNS})


def join(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of two tables."""
    return pd.concat([part for part in (first, second) if len(part)] or [first])


def to_photos(rows: pd.DataFrame) -> list[Photo]:
    """Return the photos of some rows."""
    return [
        Photo(
            *(row["path"], row["label"]),
            *(float(row["probability"]), float(row["unknown_score"])),
            row["text"] or "",
            None if row["crop"] is None else [int(side) for side in row["crop"]],
        )
        for row in rows.to_dict("records")
    ]
