"""What a server of MLflow lacks of a run, in its folder while the server is away."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mlflow.entities import Metric

from fieldmark.files import read_json, write_json
from fieldmark.run import Run


@dataclass
class Unsent:
    """Points of curves and figures that are not sent yet, and the file that keeps them."""

    file: Path
    metrics: list[Metric] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)

    @classmethod
    def load(cls, run: Run) -> Self:
        """Read what an interrupted run could not send, nothing if there is no file."""
        kept = read_json(run.mlflow_unsent_file)
        metrics = [Metric(*point) for point in kept.get("points", [])]
        figures = [run.figures / name for name in kept.get("figures", [])]
        return cls(run.mlflow_unsent_file, metrics, figures)

    def save(self) -> None:
        """Write the file, or remove it if everything is sent."""
        points = [[m.key, m.value, m.timestamp, m.step] for m in self.metrics]
        if points or self.figures:
            names = [figure.name for figure in self.figures]
            write_json(self.file, {"points": points, "figures": names})
        else:
            self.file.unlink(missing_ok=True)
