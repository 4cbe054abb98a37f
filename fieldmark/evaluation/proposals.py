"""Predictions for the crops that a finder proposes in photos, and the species model's choice."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from birds.crops import Crop
from birds.looks import choose_look
from fieldmark.evaluation.predictions import Predictions


class Scores(NamedTuple):
    """What the choice among crops depends on, [N]."""

    unknown: np.ndarray


@dataclass(frozen=True, eq=False)
class Proposals:
    """Predictions of a model for the crops proposed in n photos, and where these are.

    `photos` has a row for each photo, as `FieldPhotos.table` or a split table. `crops` are the
    predictions for m crops, photo by photo, and `squares` [m] their places. `counts` [n] says how
    many there are of each photo.
    """

    photos: pd.DataFrame
    crops: Predictions
    squares: list[Crop]
    counts: np.ndarray

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.photos)

    @property
    def starts(self) -> np.ndarray:
        """Return the row of the first crop of each photo, [n]."""
        return np.cumsum(self.counts) - self.counts

    @property
    def weight(self) -> np.ndarray:
        """Return the weight of each photo, [n]: 1 unless it is one of several versions."""
        return self.photos.get("weight", pd.Series(1.0, self.photos.index)).to_numpy(float)

    @property
    def originals(self) -> pd.Series:
        """Return the path of the photo that each photo is a version of, [n]."""
        return self.photos["original" if "original" in self.photos else "path"]

    @property
    def share(self) -> np.ndarray:
        """Return the share of the frame of each pasted bird, [n]; NaN for photos as they are."""
        return self.photos.get("share", pd.Series(np.nan, self.photos.index)).to_numpy(float)

    @property
    def lowest_score(self) -> np.ndarray:
        """Return the lowest out-of-distribution score of each photo's crops, [n].

        It is over the threshold of unknown birds exactly if the score of the chosen crop is.
        """
        return np.minimum.reduceat(self.crops.ood_score, self.starts)

    @property
    def found(self) -> np.ndarray:
        """Return whether the finder proposed a box in each photo, bool [n]."""
        return np.array([self.squares[row].source == "finder" for row in self.starts], bool)

    def choose_rows(self, threshold: float | None) -> np.ndarray:
        """Return the row of the crop that the function chooses in each photo, [n]."""

        def predict(rows: np.ndarray) -> Scores:
            return Scores(self.crops.ood_score[rows])

        rows: Any  # stand for crops and their pixels alike
        chosen = []
        for start, count in zip(self.starts, self.counts, strict=True):
            rows = list(range(start, start + count))
            best, *_ = choose_look(rows, np.asarray, predict, threshold)
            chosen.append(best.crop)
        return np.array(chosen, int)

    def choose(self, threshold: float | None) -> Predictions:
        """Return the predictions for the crops that the function chooses."""
        return self.crops.select(self.choose_rows(threshold))

    def select(self, mask: np.ndarray) -> "Proposals":
        """Return the proposals of some photos, given a boolean mask [n]."""
        rows = np.repeat(mask, self.counts)
        squares = [square for square, kept in zip(self.squares, rows, strict=True) if kept]
        photos = self.photos[mask]
        return Proposals(photos, self.crops.select(rows), squares, self.counts[mask])

    def of_split(self, name: str) -> "Proposals":
        """Return the proposals of the photos of one split."""
        return self.select((self.photos["split"] == name).to_numpy())


def propose_middle(photos: pd.DataFrame, predictions: Predictions) -> Proposals:
    """Return predictions for the middle squares of photos as their only proposals."""
    middle = [Crop(0, 0, 0, 0, "center")] * len(photos)
    return Proposals(photos, predictions, middle, np.ones(len(photos), int))
