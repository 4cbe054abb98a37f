"""A run of training: begin or resume it, write its results, and find finished ones."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import pandas as pd

from fieldmark.environment import describe_environment
from fieldmark.errors import RunError
from fieldmark.files import read_json, write_json, write_text
from fieldmark.run_folder import RunFolder

TEST_RUNS = "test-*"  # folders that tests leave in runs/
TRAINING_SPLITS = ("train", "valid")  # a photo that chose an epoch is no test of the model


class Run(RunFolder):
    """The folder of a run, with what training does in it."""

    def __init__(self, folder: Path | str, name: str = ""):
        super().__init__(folder, name)
        self.state_file = self.checkpoints / "state.json"
        self.created = time.monotonic()
        self.resumes = False
        self.earlier_seconds = 0.0
        self._identity = ""
        self._interrupted: set[str] = set()
        self._recorded: dict[str, list[dict]] = {}

    def begin(self, training_keys: Mapping, split: pd.DataFrame) -> Self:
        """Start training, or resume it if an interrupted run had the same keys and split.

        Otherwise, and after a finished run, the checkpoints and snapshots in the folder are
        removed. `split` has columns path, label and split. Returns this Run.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        facts = json.dumps(dict(training_keys), sort_keys=True)
        facts += split[["path", "label", "split"]].to_csv()
        self._identity = hashlib.sha256(facts.encode()).hexdigest()
        state = {"identity": self._identity, "finished": False}
        self.resumes = read_json(self.state_file) == state
        files = sorted(self.checkpoints.glob("*.pt"), key=lambda file: file.stat().st_mtime)
        phases = [file.stem for file in files] if self.resumes else []
        self._interrupted = set(phases)
        self._recorded = {phase: self._epochs(phase) for phase in phases}
        epochs = [epoch for recorded in self._recorded.values() for epoch in recorded]
        self.earlier_seconds = sum(epoch["seconds"] for epoch in epochs)
        if not self.resumes:
            for file in (*files, *self.snapshots.glob("*.safetensors"), self.history_file):
                file.unlink(missing_ok=True)
        write_json(self.state_file, state)
        return self

    def finish(self) -> None:
        """Record that the run is finished, so that the next one starts from the beginning."""
        write_json(self.state_file, {"identity": self._identity, "finished": True})

    def checkpoint_file(self, phase: str) -> Path:
        """Return the checkpoint file of a training phase."""
        return self.checkpoints / f"{phase}.pt"

    def take_checkpoint(self, phase: str) -> dict | None:
        """Return the state of a phase of an interrupted run, None if there is none.

        A phase is resumed once: fitting it again in the same session starts it again.
        """
        if phase not in self._interrupted:
            return None
        import torch

        self._interrupted.remove(phase)
        return torch.load(self.checkpoint_file(phase), map_location="cpu", weights_only=True)

    @property
    def progress(self) -> list[str]:
        """How far an interrupted run got in each phase, such as "frozen, epoch 3"."""
        phases = sorted(self._interrupted)
        return [f"{phase}, epoch {len(self._epochs(phase))}" for phase in phases]

    def _epochs(self, phase: str) -> list[dict]:
        """Return the history of a checkpoint without loading its weights."""
        import torch

        return torch.load(self.checkpoint_file(phase), weights_only=True, mmap=True)["history"]

    def record_epochs(self, phase: str, epochs: list[dict]) -> None:
        """Write history.csv: these are all epochs of a phase so far, other phases keep theirs."""
        self._recorded[phase] = epochs
        rows = [epoch for recorded in self._recorded.values() for epoch in recorded]
        write_table(self.history_file, pd.DataFrame(rows))

    def describe_training(self, history: pd.DataFrame) -> dict:
        """Return the card's `training`: seconds so far, epochs, and which epoch was kept.

        `seconds` count from the creation of this Run, and the epochs of earlier sessions.
        """
        seconds = time.monotonic() - self.created + self.earlier_seconds
        kept = None
        if len(history):
            last = history[history["phase"] == history["phase"].iloc[-1]]
            best = last.loc[last["log_loss"].idxmin()]
            kept = {"phase": best["phase"], "epoch": int(best["epoch"])}
        return {
            "seconds": round(seconds, 1),
            "epochs": len(history),
            "kept_epoch": kept,
            "selection": "lowest log_loss on valid",
        }

    def write_results(
        self,
        history: pd.DataFrame,
        predictions: pd.DataFrame,
        per_class: pd.DataFrame,
        metrics: dict,
    ) -> None:
        """Write the tables, metrics.json and environment.json."""
        write_table(self.history_file, history)
        write_table(self.predictions_file, predictions)
        write_table(self.per_class_file, per_class)
        write_json(self.metrics_file, metrics)
        write_json(self.environment_file, describe_environment())

    def remove_results(self) -> None:
        """Remove what an earlier run left in this folder, but not checkpoints and snapshots."""
        for file in (*self.model_files, *self.result_files, self.competition_file):
            file.unlink(missing_ok=True)

    def check_complete(self) -> None:
        """Raise RunError unless the run finished and its files belong together."""
        if self.weights_file.is_file():
            _ = self.card  # refuses an older run, which has other files
        needed = (*self.model_files[:3], self.predictions_file, self.metrics_file)
        if missing := [file.name for file in needed if not file.is_file()]:
            raise RunError(
                f"{self.folder} is not a finished run: it has no {', '.join(missing)}. "
                "`fieldmark train` writes them."
            )
        try:
            accuracy, table = self.metrics["accuracy"], self.predictions
            mean = (table["label"] == table["predicted"]).mean()
            reported = self.split.loc[self.split["split"] == "calibration", "path"]
            self.card["labels"]
        except (KeyError, ValueError) as error:
            raise RunError(f"{self.folder} cannot be read ({error!r}). Train it again.") from error
        if accuracy["n"] != len(table) or abs(accuracy["value"] - mean) > 1e-4:
            raise RunError(
                f"{self.folder} mixes two runs: metrics.json does not fit predictions.csv. "
                "Train it again."
            )
        if set(table["path"]) != set(reported):
            raise RunError(
                f"{self.folder} mixes two runs: split.csv has other calibration photos than "
                "predictions.csv. Train it again."
            )

    @classmethod
    def find_all(cls, root: Path) -> list[Self]:
        """Return the complete runs directly below `root`, without those that tests leave.

        Raises RunError if there is none.
        """
        runs = [cls(path.parent) for path in sorted(root.glob("*/metrics.json"))]
        complete = [
            run
            for run in runs
            if not run.folder.match(TEST_RUNS)
            and all(file.is_file() for file in (*run.model_files[:3], run.predictions_file))
        ]
        if not complete:
            raise RunError(
                f"There is no finished run below {root}. `make train` writes one, and `fieldmark "
                "migrate RUN` brings an older one up to date."
            )
        return complete

    @classmethod
    def open_all(cls, folders: Iterable[Path]) -> list[Self]:
        """Return each run once, checked by `check_complete`.

        Runs whose folders have the same name are named by their paths.
        """
        folders = list(dict.fromkeys(folder.resolve() for folder in folders))
        names = [folder.name for folder in folders]
        runs = [
            cls(folder, "" if names.count(folder.name) == 1 else folder.as_posix())
            for folder in folders
        ]
        for run in runs:
            run.check_complete()
        return runs


def write_table(file: Path, table: pd.DataFrame) -> None:
    """Write a CSV table atomically, numbers with 6 significant digits."""
    write_text(file, table.to_csv(index=False, float_format="%.6g"))
