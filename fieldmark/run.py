"""A run of training: begin or resume it, write its results, and find finished ones."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import pandas as pd
from filelock import FileLock

from fieldmark.checkpoints import load_checkpoints, remove_checkpoints, save_checkpoint
from fieldmark.disk import check_writable
from fieldmark.environment import describe_environment
from fieldmark.errors import RunError
from fieldmark.files import PARTIAL, write_json, write_text
from fieldmark.locking import lock_folder
from fieldmark.replacement import remove_entry, replace_entries
from fieldmark.run_folder import RunFolder

TEST_RUNS = "test-*"  # folders that tests leave in runs/
TRAINING_SPLITS = ("train", "valid")  # a photo that chose an epoch is no test of the model


class Run(RunFolder):
    """The folder of a run, with what training does in it."""

    def __init__(self, folder: Path | str, name: str = ""):
        super().__init__(folder, name)
        self.created = time.monotonic()
        self.resumes = False
        self.earlier_seconds = 0.0
        self.destination = self.folder  # where the files of the finished run go
        self._lock = None
        self._identity = ""
        self._interrupted: dict[str, dict] = {}
        self._recorded: dict[str, list[dict]] = {}

    @classmethod
    def create(cls, folder: Path | str) -> Self:
        """Return a Run that trains in the folder `unfinished` of a run's folder, and lock that.

        The files of a finished run in `folder` stay until `finish` replaces them. Of what an
        interrupted run left in `unfinished`, which may be of another recipe, only that stays with
        which it resumes. Raises LockedError if another process trains there, and DiskError if it
        cannot be written to.
        """
        folder = Path(folder)
        lock = lock_run(folder)
        finished = RunFolder(folder)
        check_writable(finished.unfinished)
        run = cls(finished.unfinished, finished.name)
        run.destination, run._lock = folder, lock
        resumed = {run.checkpoints, run.snapshots, run.history_file, *run.tracker_files}
        for entry in set(run.folder.iterdir()) - resumed:
            remove_entry(entry)
        for file in run.folder.rglob(f"*{PARTIAL}"):  # of a killed process
            file.unlink(missing_ok=True)
        return run

    def clear(self) -> Self:
        """Remove what an interrupted run left in this folder; return this Run."""
        for entry in self.folder.iterdir():
            remove_entry(entry)
        return self

    def begin(self, training_keys: Mapping, split: pd.DataFrame) -> Self:
        """Start training, or resume it if an interrupted run had the same keys and split.

        Otherwise the checkpoints and snapshots in the folder are removed. `split` has columns path,
        label, split and perhaps subclass. A damaged checkpoint is reported, and the one before it
        is used. Returns this Run.
        """
        facts = json.dumps(dict(training_keys), sort_keys=True)
        columns = ["path", "label", "split", *split.columns.intersection(["subclass"])]
        facts += split[columns].to_csv()
        self._identity = hashlib.sha256(facts.encode()).hexdigest()
        found = load_checkpoints(self.checkpoints)
        self._interrupted = {
            phase: state for phase, state in found.items() if state["identity"] == self._identity
        }
        self.resumes = bool(self._interrupted)
        self._recorded = {phase: state["history"] for phase, state in self._interrupted.items()}
        epochs = [epoch for recorded in self._recorded.values() for epoch in recorded]
        self.earlier_seconds = sum(epoch["seconds"] for epoch in epochs)
        if not self.resumes:
            remove_checkpoints(self.checkpoints)
            for entry in (self.snapshots, self.history_file):
                remove_entry(entry)
        return self

    @property
    def identity(self) -> str:
        """A hash of what is trained on what, "" before `begin`."""
        return self._identity

    def finish(self) -> None:
        """Replace the files of the last finished run by those of this one, and unlock the folder.

        Raises RunError, having replaced nothing, if the files do not belong together.
        """
        Run(self.folder).check_complete()
        replace_entries(self.destination, [path.name for path in self.products])
        self.release()

    def release(self) -> None:
        """Unlock the folder, so that another process can train in it."""
        if self._lock:
            self._lock.release(force=True)

    def save_checkpoint(self, phase: str, epoch: int, state: dict) -> None:
        """Save the state after an epoch, and keep that of the epoch before it."""
        state = state | {"identity": self._identity}
        save_checkpoint(self.checkpoints, phase, epoch, state)

    def take_checkpoint(self, phase: str) -> dict | None:
        """Return the state of a phase of an interrupted run, None if there is none.

        A phase is resumed once: fitting it again in the same session starts it again.
        """
        return self._interrupted.pop(phase, None)

    @property
    def progress(self) -> list[str]:
        """How far an interrupted run got in each phase, such as "frozen, epoch 3"."""
        return [
            f"{phase}, epoch {len(state['history'])}"
            for phase, state in sorted(self._interrupted.items())
        ]

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

    def check_complete(self) -> None:
        """Raise RunError unless the run finished and its files belong together."""
        if self.weights_file.is_file():
            _ = self.card  # refuses an older run, which has other files
        needed = (*self.model_files[:3], self.predictions_file, self.metrics_file)
        if missing := [file.name for file in needed if not file.is_file()]:
            remedy = "`fieldmark train` writes them."
            if self.unfinished.is_dir():
                remedy = "Its training was interrupted: start the same `fieldmark train` again."
            raise RunError(
                f"{self.folder} is not a finished run: it has no {', '.join(missing)}. {remedy}"
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
    def find_in(cls, folder: Path) -> list[Path]:
        """Return the folders of the complete runs directly below one, or itself if it is a run.

        Raises RunError for the folder `runs` without any; for another one `open_all` does.
        """
        holds_runs = any(folder.glob("*/metrics.json")) or folder == Path("runs")
        is_run = (folder / "metrics.json").exists() or not holds_runs
        return [folder] if is_run else [run.folder for run in cls.find_all(folder)]

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


def lock_run(folder: Path) -> FileLock:
    """Lock a run, to train or export it; raises LockedError if another process does."""
    remedy = "Wait until it ends, or train under another `--name`."
    return lock_folder(folder, "trained or exported", remedy, timeout=1)


def write_table(file: Path, table: pd.DataFrame) -> None:
    """Write a CSV table atomically, numbers with 6 significant digits."""
    write_text(file, table.to_csv(index=False, float_format="%.6g"))
