"""Read finished runs, from nothing but the files that they left."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path

import pandas as pd
from safetensors import safe_open

from fieldmark.errors import UserError

NEEDED = ("card.json", "answers.csv", "birds.onnx", "metrics.json", "split.csv")
OF_TESTS = "test-*"  # the runs that tests leave
TAUGHT = ("train", "valid")  # what chose the settings counts as taught
JUDGES = "calibration"
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


class ComparisonError(UserError):
    """Runs that can't be compared; the text says which, and what to do."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A run that got to its end; `answers` and `split` have a row a photo, by its path.

    `history`, `cost` and `environment` are empty where the run has none.
    """

    name: str
    folder: Path
    card: dict
    metrics: dict
    answers: pd.DataFrame
    split: pd.DataFrame
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    cost: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)

    @cached_property
    def labels(self) -> frozenset[str]:
        """Return the labels that the model tells apart."""
        return frozenset(each["label"] for each in self.card["labels"])

    @cached_property
    def right(self) -> pd.Series:
        """Tell of each judged photo whether its first answer was right."""
        return self.answers["label"] == self.answers["answer"]

    @cached_property
    def taught(self) -> pd.Index:
        """Return the paths that taught the model, or chose among its epochs."""
        return self.split.index[self.split["split"].isin(TAUGHT)]

    @property
    def file(self) -> Path:
        """Return the model file."""
        return self.folder / "birds.onnx"

    @cached_property
    def parameters(self) -> int | None:
        """Count the parameters in birds.safetensors, without batch norm's running statistics.

        None where that file isn't there: what a graph stores isn't all learned.
        """
        weights = self.folder / "birds.safetensors"
        if not weights.is_file():
            return None
        with safe_open(weights, "np") as file:
            names = [name for name in file.keys() if not name.endswith(BUFFERS)]  # noqa: SIM118
            return sum(prod(file.get_slice(name).get_shape()) for name in names)

    @property
    def seconds(self) -> float | None:
        """Return the seconds of the whole run, or of its epochs if those are all that is known."""
        if self.cost:
            return self.cost["seconds"] + self.cost.get("earlier_epochs", 0)
        return float(self.history["seconds"].sum()) if len(self.history) else None

    @property
    def joules(self) -> dict[str, float | None]:
        """Return the joules that `processor` and `gpu` counted, None where nobody did."""
        counted = self.cost.get("joules") or {}
        return {name: counted.get(name) for name in ("processor", "gpu")}

    @property
    def parts(self) -> list[str]:
        """Name the runs or snapshots that it was made of, if it was not trained itself."""
        return [each["file"] for each in self.card.get("averaged", {}).get("of", [])]

    @property
    def machine(self) -> str | None:
        """Name what it was trained on; None for one made of others."""
        if self.parts:
            return None
        gpus = " and ".join(self.environment.get("gpu") or [])
        cores = f"{self.environment.get('cpu')}, {self.environment.get('cores')} cores"
        return gpus or (cores if self.environment else "a machine that isn't told")


def find(root: Path) -> list[Path]:
    """Return the folders of all finished runs below `root`, but those that tests left.

    Raises ComparisonError without one.
    """
    folders = [path.parent for path in sorted(root.glob("*/card.json"))]
    found = [
        each
        for each in folders
        if all((each / name).is_file() for name in NEEDED) and not each.match(OF_TESTS)
    ]
    if not found:
        raise ComparisonError(f"There is no finished run below {root}. `make train` makes one.")
    return found


def read(folders: list[Path]) -> list[Finished]:
    """Read runs, each once; those whose folders have one name are called by their paths.

    Raises ComparisonError for a folder that is no finished run.
    """
    folders = list(dict.fromkeys(folder.resolve() for folder in folders))
    names = [folder.name for folder in folders]
    return [
        read_one(folder, folder.name if names.count(folder.name) == 1 else folder.as_posix())
        for folder in folders
    ]


def read_one(folder: Path, name: str) -> Finished:
    """Read one run; raises ComparisonError for a folder that is none."""
    missing = [each for each in NEEDED if not (folder / each).is_file()]
    if missing:
        raise ComparisonError(
            f"{folder} is no finished run: it has no {', '.join(missing)}. A run that "
            "`make train` took to its end has them all."
        )
    try:
        found = Finished(
            name,
            folder,
            *(facts(folder / f"{each}.json") for each in ("card", "metrics")),
            *(table(folder / f"{each}.csv") for each in ("answers", "split")),
            history(folder / "history.csv"),
            *(facts(folder / f"{each}.json") for each in ("cost", "environment")),
        )
        said, right = found.metrics["accuracy"], found.right
        judges = found.split.index[found.split["split"] == JUDGES]
    except (KeyError, ValueError) as error:
        raise ComparisonError(f"{folder} can't be read ({error}). Train it anew.") from error
    if said["n"] != len(right) or abs(said["value"] - right.mean()) > 1e-4:
        raise ComparisonError(
            f"{folder} is of several runs: metrics.json tells of other answers than answers.csv. "
            "Train it anew."
        )
    if sorted(found.answers.index) != sorted(judges):
        raise ComparisonError(
            f"{folder} is of several runs: split.csv tells of other photos than answers.csv. "
            "Train it anew."
        )
    return found


def facts(file: Path) -> dict:
    """Read JSON; empty if there is no such file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def table(file: Path) -> pd.DataFrame:
    """Read a table of photos by their paths; a species may well be called NA."""
    return pd.read_csv(file, dtype=str, keep_default_na=False).set_index("path")


def history(file: Path) -> pd.DataFrame:
    """Read losses, accuracy and seconds of each epoch."""
    return pd.read_csv(file) if file.is_file() else pd.DataFrame()
