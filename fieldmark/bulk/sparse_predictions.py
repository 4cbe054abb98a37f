"""The predictions of many photos in little memory: only labels with some probability."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its functions are made at run time


class SparsePredictions:
    """The predictions of n photos of a model with C labels, from their rows.

    A row keeps the labels of at least MIN_PROBABILITY; what is missing to 1 is spread evenly over
    the others.
    """

    def __init__(self, labels: Sequence[str]):
        self.names = pa.array(labels, pa.string())
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.lengths = self.starts = self.columns = self.values = np.zeros(0, int)

    def append(self, predictions: pa.ListArray) -> None:
        """Add the predictions of some photos; none may be null."""
        pairs = predictions.flatten()
        columns = pc.index_in(pairs.field("label"), self.names)
        self.parts.append(
            tuple(
                array.to_numpy(zero_copy_only=False)
                for array in (
                    predictions.value_lengths(),
                    columns,
                    pairs.field("probability"),
                )
            )
        )

    def finish(self) -> None:
        """Join what was added, before `dense`."""
        if self.parts:
            joined = map(np.concatenate, zip(*self.parts, strict=True))
            self.lengths, self.columns, self.values = joined
        self.starts, self.parts = np.cumsum(self.lengths) - self.lengths, []

    def dense(self, rows: np.ndarray) -> np.ndarray:
        """Return the probabilities of some photos, float32 [len(rows), C]."""
        lengths, classes = self.lengths[rows], len(self.names)
        photos = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(len(photos)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(self.starts[rows], lengths) + within
        kept = np.bincount(photos, self.values[places].astype(np.float64), len(rows))
        rest = np.clip(1 - kept, 0, None) / np.maximum(classes - lengths, 1)
        probability = np.repeat(rest.astype(np.float32)[:, None], classes, axis=1)
        probability[photos, self.columns[places]] = self.values[places]
        return probability
