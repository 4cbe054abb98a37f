"""Accuracy by facts and properties of photos, with intervals, and trends with adjusted tests."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from statsmodels.stats.contingency_tables import Table

from fieldmark.statistics import adjust_holm, wilson_interval

MIN_PHOTOS = 5  # of a value with a row of its own
MAX_VALUES = 8  # most frequent ones with rows of their own
PARTS = 4  # of numbers, of about equally many photos
ROWS = ["property", "value", "n", "correct", "accuracy", "low", "high"]
TRENDS = ["property", "n", "p", "p_holm"]


class AccuracyBy(NamedTuple):
    """Accuracy by each value of each property, the trends over numbers, and what is left out.

    `rows` has the columns ROWS, `trends` the columns TRENDS; `notes` are sentences.
    """

    rows: pd.DataFrame
    trends: pd.DataFrame
    notes: list[str]


def compute_accuracy_by(correct: np.ndarray, facts: pd.DataFrame) -> AccuracyBy:
    """Compare the accuracy of photos by the columns of `facts`; `correct` is bool [n].

    Numbers are cut into quarters, and a Cochran-Armitage test (Armitage 1955) says whether the
    accuracy rises or falls over them; p values are adjusted for all such tests (Holm 1979).
    Values of other columns with fewer than MIN_PHOTOS photos, or over MAX_VALUES, are grouped.
    """
    rows, trends, notes = [], [], []
    for name, column in facts.reset_index(drop=True).items():
        known = column.notna().to_numpy()
        if missing := int((~known).sum()):
            notes.append(f"{name}: {missing} of {len(known)} photos have none and are left out.")
        values, right = column[known].reset_index(drop=True), correct[known]
        is_number = is_numeric_dtype(values) and not is_bool_dtype(values)
        groups, names, note = (cut_quarters if is_number else group_values)(values)
        if len(names) < 2:
            notes.append(f"{name}: all photos that have one are in one group, so it is left out.")
            continue
        notes += [f"{name}: {note}"] if note else []
        rows += [
            (name, value, *describe_accuracy(right[groups == number]))
            for number, value in enumerate(names)
        ]
        if is_number:
            trends.append((name, len(values), compute_trend(right, groups)))
    p_values = np.array([trend[-1] for trend in trends])
    adjusted = [(*trend, p) for trend, p in zip(trends, adjust_holm(p_values), strict=True)]
    return AccuracyBy(
        pd.DataFrame(rows, columns=ROWS), pd.DataFrame(adjusted, columns=TRENDS), notes
    )


def describe_accuracy(correct: np.ndarray) -> tuple:
    """Return n, the right ones, their share, and the ends of its Wilson interval."""
    accuracy = wilson_interval(int(correct.sum()), len(correct))
    return len(correct), int(correct.sum()), accuracy["value"], *accuracy["interval"]


def cut_quarters(values: pd.Series) -> tuple[np.ndarray, list[str], str]:
    """Return the quarter of each number, the ranges of the quarters, and a note.

    Equal numbers stay together, so that there may be fewer than four.
    """
    edges = np.unique(values)
    if len(edges) > PARTS:
        edges = np.unique(np.quantile(values, np.arange(1, PARTS) / PARTS, method="lower"))
    _, groups = np.unique(np.searchsorted(edges, values), return_inverse=True)
    parts = [values[groups == number] for number in range(groups.max(initial=-1) + 1)]
    names = [
        " to ".join(format_number(end) for end in dict.fromkeys((part.min(), part.max())))
        for part in parts
    ]
    few = sum(len(part) < MIN_PHOTOS for part in parts)
    return groups, names, f"{few} parts have fewer than {MIN_PHOTOS} photos." if few else ""


def format_number(number: float) -> str:
    """Return a number with three digits or all before the point."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def group_values(values: pd.Series) -> tuple[np.ndarray, list[str], str]:
    """Return the group of each value, the names of the groups, most frequent first, and a note."""
    texts = values.astype(str)
    counts = texts.value_counts().reset_index()
    counts.columns = ["value", "n"]
    counts = counts.sort_values(["n", "value"], ascending=[False, True])
    named = counts.loc[counts["n"] >= MIN_PHOTOS, "value"].head(MAX_VALUES).tolist()
    grouped = len(counts) - len(named)
    groups = pd.Index(named).get_indexer(pd.Index(texts))
    groups[groups < 0] = len(named)
    if not grouped:
        return groups, named, ""
    note = f"{grouped} values with few photos are grouped."
    return groups, [*named, f"{grouped} other value{'s' * (grouped > 1)}"], note


def compute_trend(correct: np.ndarray, groups: np.ndarray) -> float:
    """Return the p value of a Cochran-Armitage test that accuracy rises or falls over groups.

    It is 1 where all photos, or none, are right.
    """
    table = pd.crosstab(groups, correct)
    if min(table.shape) < 2:
        return 1.0
    scores = np.arange(len(table)), np.arange(2)
    result: Any = Table(table, shift_zeros=False).test_ordinal_association(*scores)
    return float(result.pvalue)
