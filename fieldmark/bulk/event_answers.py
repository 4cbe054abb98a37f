"""One answer for the photos of each event, by the code that the function runs."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from birds.same_bird import combine_groups
from fieldmark.bulk.answers import answer_columns
from fieldmark.bulk.rows import SCHEMA
from fieldmark.bulk.sparse_predictions import SparsePredictions

ANSWER = pa.schema(
    [
        SCHEMA.field(name)
        for name in (
            *("kind", "label", "common_name", "scientific_name", "probability", "shortlist"),
            *("taxon_rank", "taxon", "unknown_score", "text", "predictions"),
        )
    ]
)
CELLS = 2**23  # probabilities in memory at a time


def combine_answers(
    groups: list[np.ndarray], predictions: SparsePredictions, unknown: np.ndarray, card: dict
) -> pa.Table:
    """Return the columns ANSWER of groups of photos, each of one bird, in little memory.

    A group has rows of `predictions` and of `unknown`, the scores of all photos. `card` has
    `labels` and `thresholds`.
    """
    labels = {label["label"]: label for label in card["labels"]}
    tables = [ANSWER.empty_table()]
    for part in split_groups(groups, max(1, CELLS // len(labels))):
        rows = np.concatenate(part)
        starts = np.cumsum([0, *map(len, part[:-1])])
        combined = combine_groups(predictions.dense(rows), unknown[rows], starts)
        answers = [
            answer_columns(probability, float(score), card, labels)
            for probability, score in zip(*combined, strict=True)
        ]
        tables.append(pa.Table.from_pylist(answers, ANSWER))
    return pa.concat_tables(tables)


def split_groups(groups: list[np.ndarray], rows: int) -> Iterator[list[np.ndarray]]:
    """Yield groups in lists of about so many rows, at least one group each."""
    part, size = [], 0
    for group in groups:
        part.append(group)
        size += len(group)
        if size >= rows:
            yield part
            part, size = [], 0
    if part:
        yield part
