"""The folder of a run: every file name, the card, the tables, and resuming."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from math import prod
from pathlib import Path

import pandas as pd
import yaml
from safetensors import SafetensorError, safe_open

from fieldmark.environment import describe_environment
from fieldmark.errors import RunError
from fieldmark.files import read_json, write_json, write_text

TEST_RUNS = "test-*"  # folders that tests leave in runs/
TRAINING_SPLITS = ("train", "valid")  # a photo that chose an epoch is no test of the model
BATCH_NORM_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Run:
    """The folder of a run, and the only place that knows the names of its files.

    The card, tables and JSON files are read when first used and then kept; create another Run to
    see later changes.
    """

    def __init__(self, folder: Path | str, name: str = ""):
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name
        self.model_file = self.folder / "birds.onnx"
        self.weights_file = self.folder / "birds.safetensors"
        self.split_file = self.folder / "split.csv"
        self.recipe_file = self.folder / "recipe.yaml"
        self.history_file = self.folder / "history.csv"
        self.predictions_file = self.folder / "predictions.csv"
        self.per_class_file = self.folder / "per_class.csv"
        self.metrics_file = self.folder / "metrics.json"
        self.environment_file = self.folder / "environment.json"
        self.gate_report_file = self.folder / "gate.csv"
        self.photo_problems_file = self.folder / "photo_problems.csv"
        self.competition_file = self.folder / "competition.csv"
        self.notebook_file = self.folder / "train.ipynb"
        self.figures = self.folder / "figures"
        self.checkpoints = self.folder / "checkpoints"
        self.snapshots = self.folder / "snapshots"
        self.tensorboard = self.folder / "tensorboard"
        self.state_file = self.checkpoints / "state.json"
        self.created = time.monotonic()
        self.resumes = False
        self.earlier_seconds = 0.0
        self._identity = ""
        self._interrupted: set[str] = set()

    @property
    def model_files(self) -> tuple[Path, ...]:
        """The files that make up a published model."""
        return self.model_file, self.weights_file, self.split_file, self.recipe_file

    @property
    def result_files(self) -> tuple[Path, ...]:
        """The tables and reports that describe a model."""
        return (
            *(self.history_file, self.predictions_file, self.per_class_file, self.metrics_file),
            *(self.environment_file, self.gate_report_file, self.photo_problems_file),
        )

    # What a finished run says

    @cached_property
    def card(self) -> dict:
        """The model card, from the metadata of the weights.

        Raises RunError if there are no weights, or if they have no card.
        """
        if not self.weights_file.is_file():
            raise RunError(f"{self.weights_file} does not exist. `fieldmark train` writes it.")
        card = read_weights_card(self.weights_file)
        if not card:
            raise RunError(f"{self.weights_file} has no model card: it is not of a run.")
        return card

    @cached_property
    def labels(self) -> frozenset[str]:
        """The labels that the model distinguishes."""
        return frozenset(label["label"] for label in self.card["labels"])

    @cached_property
    def recipe(self) -> dict:
        """The parameters of the run."""
        return yaml.safe_load(self.recipe_file.read_text(encoding="utf-8"))

    @cached_property
    def split(self) -> pd.DataFrame:
        """A row per photo: path, label, split, source, group."""
        return read_table(self.split_file)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row per photo of `calibration`: path, label, predicted and more."""
        return read_table(self.predictions_file)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row per epoch: phase, epoch, losses, metrics, seconds; empty if there is none."""
        return pd.read_csv(self.history_file) if self.history_file.is_file() else pd.DataFrame()

    @cached_property
    def metrics(self) -> dict:
        """The metrics on `calibration`, each with its interval; empty if there are none."""
        return read_json(self.metrics_file)

    @cached_property
    def environment(self) -> dict:
        """Machine, packages and commit of the training; empty if they were not recorded."""
        return read_json(self.environment_file)

    @cached_property
    def num_parameters(self) -> int:
        """The number of learned parameters, without the running statistics of batch norms."""
        with safe_open(self.weights_file, "np") as file:
            names = [name for name in file.keys() if not name.endswith(BATCH_NORM_STATISTICS)]  # noqa: SIM118
            return sum(prod(file.get_slice(name).get_shape()) for name in names)

    @property
    def members(self) -> list[str]:
        """The runs or snapshots that an ensemble consists of; empty for a single network."""
        return [member["file"] for member in self.card.get("ensemble", {}).get("members", [])]

    @property
    def seconds(self) -> float | None:
        """The seconds that training took, resumed sessions included; None if not recorded."""
        return self.card.get("training", {}).get("seconds")

    def check_complete(self) -> None:
        """Raise RunError unless the run finished and its files belong together."""
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

    # What training writes

    def begin(self, training_keys: Mapping, split: pd.DataFrame) -> "Run":
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
        files = [*self.checkpoints.glob("*.pt")]
        self._interrupted = {file.stem for file in files} if self.resumes else set()
        self.earlier_seconds = sum(
            epoch["seconds"] for phase in self._interrupted for epoch in self._epochs(phase)
        )
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

    def describe_training(self, history: pd.DataFrame) -> dict:
        """Return the card's `training`: seconds so far, epochs, and which epoch was kept.

        `seconds` count from the creation of this Run, and the epochs of earlier sessions.
        """
        seconds = time.monotonic() - self.created + self.earlier_seconds
        kept = None
        if len(history):
            last = history[history["stage"] == history["stage"].iloc[-1]]
            best = last.loc[last["log_loss"].idxmin()]
            kept = {"phase": best["stage"], "epoch": int(best["epoch"])}
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

    # Several runs

    @classmethod
    def find_all(cls, root: Path) -> list["Run"]:
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
            raise RunError(f"There is no finished run below {root}. `make train` writes one.")
        return complete

    @classmethod
    def open_all(cls, folders: Iterable[Path]) -> list["Run"]:
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


def read_weights_card(file: Path) -> dict | None:
    """Return the model card in the metadata of a weights file, None for other weights."""
    try:
        with safe_open(file, "np") as weights:
            return json.loads((weights.metadata() or {}).get("card", "null"))
    except SafetensorError:  # weights as torch saves them, or no weights at all
        return None


def read_table(file: Path) -> pd.DataFrame:
    """Read a CSV table of photos as text; an empty cell or "NA" is no missing value."""
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def write_table(file: Path, table: pd.DataFrame) -> None:
    """Write a CSV table atomically, numbers with 6 significant digits."""
    write_text(file, table.to_csv(index=False, float_format="%.6g"))
