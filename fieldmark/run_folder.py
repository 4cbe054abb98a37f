"""Names of the files in a run's folder, and what they hold."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from math import prod
from pathlib import Path

import pandas as pd
import yaml
from safetensors import SafetensorError, safe_open

from birds.model_file import SCHEMA
from fieldmark.errors import RunError
from fieldmark.files import read_json
from fieldmark.replacement import UNFINISHED, complete_replacement

FORMAT_SUFFIXES = {"torchscript": ".torchscript.pt", "pt2": ".pt2"}  # of files beside ONNX
BATCH_NORM_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class RunFolder:
    """The folder of a run, and the only place that knows the names of its files.

    Opening it completes the replacement of its files that a killed process left. The card, tables
    and JSON files are read when first used and then kept; create another object to see later
    changes.
    """

    def __init__(self, folder: Path | str, name: str = ""):
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name
        complete_replacement(self.folder)
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
        self.label_decisions_file = self.folder / "label_decisions.csv"
        self.crops_file = self.folder / "crops.csv"
        self.competition_file = self.folder / "competition.csv"
        self.notebook_file = self.folder / "train.ipynb"
        self.figures = self.folder / "figures"
        self.checkpoints = self.folder / "checkpoints"
        self.snapshots = self.folder / "snapshots"
        self.tensorboard = self.folder / "tensorboard"
        self.clearml_file = self.folder / "clearml.txt"
        self.mlflow_file = self.folder / "mlflow.txt"
        self.mlflow_unsent_file = self.folder / "mlflow_unsent.json"
        self.unfinished = self.folder / UNFINISHED

    @property
    def model_files(self) -> tuple[Path, ...]:
        """The files that make up a published model."""
        return self.model_file, self.weights_file, self.split_file, self.recipe_file

    @property
    def further_files(self) -> tuple[Path, ...]:
        """The files of the model and its finder in other formats than ONNX."""
        names = ("birds", "finder")
        return tuple(self.folder / f"{n}{end}" for n in names for end in FORMAT_SUFFIXES.values())

    @property
    def result_files(self) -> tuple[Path, ...]:
        """The tables and reports that describe a model."""
        return (
            *(self.history_file, self.predictions_file, self.per_class_file, self.metrics_file),
            *(self.environment_file, self.gate_report_file, self.photo_problems_file),
        )

    @property
    def tracker_files(self) -> tuple[Path, ...]:
        """What trackers keep in the folder, and continue with if the run resumes."""
        return self.tensorboard, self.clearml_file, self.mlflow_file, self.mlflow_unsent_file

    @property
    def products(self) -> tuple[Path, ...]:
        """All files and folders of a finished run; a new run replaces them."""
        return (
            *(*self.model_files, *self.result_files, self.competition_file, self.notebook_file),
            *(self.label_decisions_file, self.crops_file, self.figures, self.snapshots),
            *(*self.tracker_files, *self.further_files),
        )

    @cached_property
    def card(self) -> dict:
        """The model card, from the metadata of the weights.

        Raises RunError if there are no weights, or if they have no card or an older one.
        """
        if not self.weights_file.is_file():
            raise RunError(f"{self.weights_file} does not exist. `fieldmark train` writes it.")
        card = read_weights_card(self.weights_file)
        if not card:
            raise RunError(
                f"{self.weights_file} has no model card: it is damaged, or not of a run."
            )
        if card.get("schema", 1) != SCHEMA:
            raise RunError(
                f"{self.folder} was written by another version of Fieldmark. Bring it up to date: "
                f"fieldmark migrate {self.folder}"
            )
        return card

    @cached_property
    def labels(self) -> frozenset[str]:
        """The labels that the model distinguishes."""
        return frozenset(label["label"] for label in self.card["labels"])

    @cached_property
    def recipe(self) -> dict:
        """The parameters of the run."""
        with damage_reported(self.recipe_file):
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
        with damage_reported(self.history_file):
            return pd.read_csv(self.history_file) if self.history_file.is_file() else pd.DataFrame()

    @cached_property
    def metrics(self) -> dict:
        """The metrics on `calibration`, each with its interval; empty if there are none."""
        with damage_reported(self.metrics_file):
            return read_json(self.metrics_file)

    @cached_property
    def environment(self) -> dict:
        """Machine, packages and commit of the training; empty if they were not recorded."""
        with damage_reported(self.environment_file):
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


def read_weights_card(file: Path) -> dict | None:
    """Return the model card in the metadata of a weights file, None for other weights."""
    try:
        with safe_open(file, "np") as weights:
            return json.loads((weights.metadata() or {}).get("card", "null"))
    except (SafetensorError, ValueError):  # weights as torch saves them, damaged, or none at all
        return None


def read_table(file: Path) -> pd.DataFrame:
    """Read a CSV table of photos as text; an empty cell or "NA" is no missing value.

    Raises RunError if the file is damaged.
    """
    with damage_reported(file):
        return pd.read_csv(file, dtype=str, keep_default_na=False)


@contextmanager
def damage_reported(file: Path) -> Iterator[None]:
    """Raise RunError, which names the file, where its content cannot be parsed."""
    try:
        yield
    except (ValueError, yaml.YAMLError) as error:
        raise RunError(
            f"{file} is damaged ({error}). Copy it from a backup, or train again."
        ) from error
