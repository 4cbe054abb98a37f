"""A finished run with its network, its photos and its predictions: what every section explains."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from birds.classifier import Classifier
from fieldmark.data.parallel import map_threads
from fieldmark.data.run_photos import find_run_photos
from fieldmark.errors import RunError
from fieldmark.evaluation.predictions import Predictions, predict
from fieldmark.network.network import Network
from fieldmark.run import Run

SPLITS = ("train", "valid", "calibration")  # a test set is evaluated once, and not here


@dataclass(frozen=True, eq=False)
class ExplainedRun:
    """A run of C labels and its n photos of `train`, `valid` and `calibration`.

    `photos` is a table with a row for each photo: path, label, split and more. `folder` holds
    their paths. `predictions` are those of the network for them, in the same order and at the
    temperature that is served.
    """

    run: Run
    network: Network
    folder: Path
    photos: pd.DataFrame
    predictions: Predictions

    @classmethod
    def load(cls, run: Run | Path | str, photos: str = "") -> "ExplainedRun":
        """Load a run and predict its photos, which takes a CPU about 15 ms each.

        `photos` is their folder, if not the recipe's; FIELDMARK_PHOTOS overrides it. Raises
        RunError if the run is not finished or its photos are missing.
        """
        run = run if isinstance(run, Run) else Run(run)
        network = Network.load(run)
        for file in (run.split_file, run.model_file):
            if not file.is_file():
                raise RunError(f"{file} does not exist. `fieldmark train` writes it.")
        folder = find_run_photos(run, photos)
        table = run.split[run.split["split"].isin(SPLITS)].reset_index(drop=True)
        (predictions,) = predict([network], table, folder)
        return cls(run, network, folder, table, predictions.scaled(run.card["temperature"]))

    @property
    def labels(self) -> list[str]:
        """Return the C labels, in the order of the logits."""
        return self.network.labels

    @cached_property
    def families(self) -> np.ndarray:
        """Return the family of each label, [C]; "" where the card has none."""
        return np.array([label.get("family") or "" for label in self.run.card["labels"]], object)

    @cached_property
    def held_out(self) -> Predictions:
        """Return the predictions of `calibration`, on which nothing was learned or chosen."""
        return self.predictions.of_split("calibration")

    @cached_property
    def classifier(self) -> Classifier:
        """Return the model file of the run, as the function serves it."""
        return Classifier(self.run.model_file)

    def prepare(self, paths: Sequence[str]) -> np.ndarray:
        """Return the pixels of photos as the network sees them, uint8 [N, S, S, 3]."""
        return np.stack(map_threads(self.prepare_photo, list(paths)))

    def prepare_photo(self, path: str) -> np.ndarray:
        """Return the pixels of a photo as the network sees it, uint8 [S, S, 3]."""
        return self.network.preparation.prepare((self.folder / path).read_bytes())
