"""Divide the photos of results into strata, and sum the model's probabilities in each."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute defines its functions when it is imported.

from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fieldmark.bulk.audit.intervals import Strata
from fieldmark.bulk.results import Results, ResultsError

LEVELS = ("sure", "fairly sure", "unsure", "unknown")
SURE, FAIRLY_SURE = 0.99, 0.9  # probability of the first prediction, at least
MIN_SHARE, MIN_PHOTOS = 0.02, 20  # of a stratum of one label; smaller ones are joined
OTHER_LABELS = "other labels"
KNOWN_IF_CALLED_UNKNOWN = 0.5  # the model's probabilities assume a known species: these are halved
COLUMNS = ("path", "kind", "label", "probability", "predictions")


class Predictions(NamedTuple):
    """Probabilities of photos in sparse form: `row` and `column` say whose and of which label."""

    row: np.ndarray
    column: np.ndarray
    probability: np.ndarray


class Population:
    """All photos of results that could be read, by stratum; raises ResultsError.

    Strata are the first label and the level of certainty. They depend on the results only, so that
    a later draw of photos adds to an earlier one.
    """

    def __init__(self, results: Results):
        if not len(results):
            raise ResultsError(f"There are no photos in {results.folder} yet, so none to check.")
        table = results.read_table([*COLUMNS, "error"])
        self.unreadable = table.num_rows - table["error"].null_count
        table = table.filter(pc.is_null(table["error"])).combine_chunks()
        if not table.num_rows:
            raise ResultsError(f"No photo of {results.folder} could be read, so none to check.")
        self.cards: list[dict] = results.manifest["labels"]
        self.labels = [card["label"] for card in self.cards]
        self.paths: list[str] = table["path"].to_pylist()
        self.label = find_labels(table["label"], self.labels)
        self.unknown = pc.equal(table["kind"], "unknown").to_numpy()
        self.level = find_levels(table)
        self.predictions = read_predictions(table, self.labels, self.unknown)
        self.stratum, self.names = group_strata(self.label, self.level, self.labels)

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.paths)

    @cached_property
    def strata(self) -> Strata:
        """What the model says of each stratum; without the species that it does not know."""
        count, columns = len(self.names), len(self.labels)
        row, column, probability = self.predictions
        cell = self.stratum[row] * columns + column
        expected = np.bincount(cell, probability, count * columns).reshape(count, columns)
        spread = probability * (1 - probability)
        variance = np.bincount(cell, spread, count * columns).reshape(count, columns)
        sizes = np.bincount(self.stratum, minlength=count).astype(float)
        levels = np.zeros(count, int)
        levels[self.stratum] = self.level
        return Strata(sizes, levels, expected, variance)

    @cached_property
    def position(self) -> dict[str, int]:
        """The number of each path."""
        return {path: number for number, path in enumerate(self.paths)}

    def probabilities(self, photos: np.ndarray) -> np.ndarray:
        """Return the probabilities [n, K] of some photos, given by their numbers."""
        place = np.full(len(self), -1)
        place[photos] = np.arange(len(photos))
        row, column, probability = self.predictions
        chosen = place[row] >= 0
        dense = np.zeros((len(photos), len(self.labels)))
        dense[place[row[chosen]], column[chosen]] = probability[chosen]
        return dense


def find_labels(labels: pa.ChunkedArray | pa.Array, known: list[str]) -> np.ndarray:
    """Return the numbers of labels; raises ResultsError for one that the model does not have."""
    numbers = pc.index_in(labels, value_set=pa.array(known))
    if numbers.null_count:
        wrong = pc.filter(labels, pc.is_null(numbers))[0].as_py()
        raise ResultsError(
            f"The results contain the label {wrong}, which is not in their job.json. Classify the "
            "photos again, into another folder."
        )
    return numbers.to_numpy().astype(int)


def find_levels(table: pa.Table) -> np.ndarray:
    """Return the level of certainty of each photo, an index into LEVELS."""
    probability = table["probability"].to_numpy()
    kind = {
        name: pc.equal(table["kind"], name).to_numpy().astype(bool)
        for name in ("unknown", "shortlist")
    }
    level = np.where(probability >= SURE, 0, np.where(probability >= FAIRLY_SURE, 1, 2))
    level[kind["shortlist"]] = 2
    level[kind["unknown"]] = 3
    return level


def read_predictions(table: pa.Table, labels: list[str], unknown: np.ndarray) -> Predictions:
    """Return the probabilities of all photos; those of photos called unknown are halved."""
    lists = table["predictions"].chunk(0)
    row = pc.list_parent_indices(lists).to_numpy().astype(int)
    flat = lists.flatten()
    column = find_labels(flat.field("label"), labels)
    probability = flat.field("probability").to_numpy().astype(float)
    halved = np.where(unknown[row], probability * KNOWN_IF_CALLED_UNKNOWN, probability)
    return Predictions(row, column, halved)


def group_strata(
    label: np.ndarray, level: np.ndarray, labels: list[str]
) -> tuple[np.ndarray, list[str]]:
    """Return the stratum of each photo, and the names of strata, surest first.

    Labels with few photos of a level are joined to one stratum.
    """
    rest = len(labels)
    key = level * (rest + 1) + label
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    small = counts[inverse] < max(MIN_PHOTOS, MIN_SHARE * len(label))
    key = np.where(small, level * (rest + 1) + rest, key)
    keys, stratum = np.unique(key, return_inverse=True)
    names = [*labels, OTHER_LABELS]
    return stratum, [f"{names[k % (rest + 1)]}, {LEVELS[k // (rest + 1)]}" for k in keys]
