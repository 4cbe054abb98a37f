"""The interface of an experiment tracker."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Tracker:
    """An experiment tracker; this base class ignores everything.

    A step is a training batch, counted from 1 through all phases of a run.
    """

    def resume(self, step: int) -> None:
        """Continue after a step, and discard what was logged of later ones."""

    def log_scalars(self, step: int, values: dict[str, float]) -> None:
        """Log a point of each curve; a name is `kind/name`."""

    def log_histograms(self, step: int, values: "dict[str, torch.Tensor]") -> None:
        """Log the distribution of weights or gradients; a name is `kind/parameter`."""

    def log_figure(self, step: int, file: Path) -> None:
        """Log a figure, a PNG file."""

    def flush(self) -> None:
        """Make everything visible that was logged."""

    def finish(self, step: int, metrics: dict[str, float], files: list[Path]) -> None:
        """Log the metrics and files of the finished run, and close the tracker."""
