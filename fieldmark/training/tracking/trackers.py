"""What trackers are told while a run goes, and the plainest of them: a row an epoch in a table."""

from pathlib import Path

import pandas as pd
import torch


class Tracker:
    """One that is told how a run goes, and does with it what it can; this one does nothing.

    A step is a batch that taught, counted from 1 through all stages of a run.
    """

    def begin(self, step: int) -> None:
        """Go on after a step: what was told of later ones is to be forgotten."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Take numbers, named as `kind/name`."""

    def epoch(self, step: int, row: dict) -> None:
        """Take an epoch as a row of a table."""

    def histograms(self, step: int, values: dict[str, torch.Tensor]) -> None:
        """Take weights or gradients, named as `kind/parameter`."""

    def figure(self, step: int, file: Path) -> None:
        """Take a figure, a PNG named as it."""

    def end(self, step: int, measured: dict[str, float], files: list[Path]) -> None:
        """Take what the run has come to, and the files that it leaves; then close."""


class Table(Tracker):
    """Keep a row an epoch in log.csv, written anew and whole after each."""

    def __init__(self, out: Path, recipe: dict):
        self.file = Path(out) / "log.csv"
        known = pd.read_csv(self.file, dtype=str) if self.file.is_file() else pd.DataFrame()
        self.rows = known.to_dict("records")

    def begin(self, step: int) -> None:
        """Drop the rows of later steps."""
        self.rows = [row for row in self.rows if int(row["step"]) <= step]

    def epoch(self, step: int, row: dict) -> None:
        """Add a row."""
        self.rows.append(row)
        scratch = self.file.with_suffix(".writing")
        pd.DataFrame(self.rows).to_csv(scratch, index=False, float_format="%.6g")
        scratch.replace(self.file)
