"""Log a run to a server of MLflow: recipe, curves, figures, files, and its registered model.

MLflow cannot delete steps. Curves are sent when an epoch ends, and steps that the server has are
not sent again.
"""

import time
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from fieldmark.errors import TrackingError
from fieldmark.files import write_text
from fieldmark.run import Run
from fieldmark.training.tracking.mlflow_model import register_model
from fieldmark.training.tracking.mlflow_server import connect, server_errors_reported
from fieldmark.training.tracking.tracker import Tracker

EXPERIMENT = "Fieldmark"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # not of language models
RUN_TAGS = {"mlflow.source.name": "train.ipynb", "mlflow.source.type": "NOTEBOOK"}


class MLflow(Tracker):
    """Log to a run on the server that MLFLOW_TRACKING_URI names; MLflow has no histograms."""

    def __init__(self, run: Run, recipe: dict):
        self.run, self.client = run, connect()
        self.metrics: list[Metric] = []  # not sent yet
        self.figures: list[Path] = []  # not sent yet
        with server_errors_reported():
            self.run_id = self.continue_run() or self.create_run(recipe)
            self.last_steps = self.read_last_steps()

    def create_run(self, recipe: dict) -> str:
        """Create a run that has the recipe, name it in the folder, and return its id."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment:
            experiment_id = experiment.experiment_id
        else:
            experiment_id = self.client.create_experiment(EXPERIMENT, tags=EXPERIMENT_TAGS)
        run = self.client.create_run(experiment_id, tags=RUN_TAGS, run_name=self.run.name)
        run_id = run.info.run_id
        params = [Param(key, str(value)) for key, value in flatten(recipe).items()]
        self.client.log_batch(run_id, params=params)
        write_text(self.run.mlflow_file, run_id)
        return run_id

    def continue_run(self) -> str:
        """Return the id of the run that this folder names, "" if it names none.

        Raises TrackingError if the server does not have it.
        """
        file = self.run.mlflow_file
        if not file.is_file():
            return ""
        run_id = file.read_text(encoding="utf-8")
        try:
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise TrackingError(
                f"The server that MLFLOW_TRACKING_URI names has no run {run_id}, which {file} "
                "continues. Set the address of the server that has it, or delete this file to log "
                "the remaining steps to a new run."
            ) from error
        return run_id

    def read_last_steps(self) -> dict[str, int]:
        """Return the last step of each curve that the server has."""
        names = self.client.get_run(self.run_id).data.metrics
        curves = {name: self.client.get_metric_history(self.run_id, name) for name in names}
        return {name: max(point.step for point in points) for name, points in curves.items()}

    def log_scalars(self, step: int, values: dict[str, float]) -> None:
        """Keep a point of each curve until `flush`, unless the server has this step."""
        milliseconds = int(time.time() * 1000)
        for name, value in values.items():
            if step > self.last_steps.get(name, -1):
                self.metrics.append(Metric(name, value, milliseconds, step))
                self.last_steps[name] = step

    def log_figure(self, step: int, file: Path) -> None:
        """Send a figure at once; it replaces an earlier one of the same name."""
        self.figures.append(file)
        self.flush()

    def flush(self) -> None:
        """Send what was kept; what cannot be sent is kept for the next time."""
        if self.metrics:
            self.client.log_batch(self.run_id, metrics=self.metrics)
            self.metrics = []
        while self.figures:
            self.client.log_artifact(self.run_id, str(self.figures[0]), "figures")
            self.figures.pop(0)

    def finish(self, step: int, metrics: dict[str, float], files: list[Path]) -> None:
        """Send metrics and files, register the model, and end the run."""
        self.log_scalars(step, {f"results/{name}": value for name, value in metrics.items()})
        self.flush()
        for file in files:
            if file.suffix == ".onnx":
                register_model(self.client, self.run_id, self.run, file, step)
            else:
                self.client.log_artifact(self.run_id, str(file))
        self.client.set_terminated(self.run_id)


def flatten(recipe: dict, prefix: str = "") -> dict:
    """Return the parameters with those of a dictionary as `name.key`."""
    flat = {}
    for key, value in recipe.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
