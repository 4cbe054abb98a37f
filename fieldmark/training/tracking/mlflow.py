"""Log a run to a server of MLflow: recipe, curves, figures, files, and its registered model.

MLflow cannot delete steps. Curves are sent when an epoch ends, and steps that the server has are
not sent again.
"""

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from mlflow.entities import LifecycleStage, Metric, Param
from mlflow.entities import Run as MLflowRun
from mlflow.exceptions import MlflowException

from fieldmark.errors import TrackingError
from fieldmark.files import write_text
from fieldmark.run import Run
from fieldmark.training.tracking.mlflow_model import register_model
from fieldmark.training.tracking.mlflow_server import (
    EXPERIMENT,
    connect_to_mlflow,
    server_errors_reported,
    upload_timeout,
)
from fieldmark.training.tracking.mlflow_unsent import Unsent
from fieldmark.training.tracking.tracker import Tracker

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # not of language models
RUN_TAGS = {"mlflow.source.name": "train.ipynb", "mlflow.source.type": "NOTEBOOK"}


class MLflow(Tracker):
    """Log to a run on the server that MLFLOW_TRACKING_URI names; MLflow has no histograms."""

    def __init__(self, run: Run, recipe: dict):
        self.run, self.client = run, connect_to_mlflow()
        with server_errors_reported():
            self.run_id = self.continue_run() or self.create_run()
            self.unsent = Unsent.load(run)
            logged = self.client.get_run(self.run_id).data
            self.send_parameters(recipe, logged.params)
            self.last_steps = self.read_last_steps(logged.metrics)

    def create_run(self) -> str:
        """Create a run, name it in the folder, and return its id."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment:
            experiment_id = experiment.experiment_id
        else:
            experiment_id = self.client.create_experiment(EXPERIMENT, tags=EXPERIMENT_TAGS)
        run = self.client.create_run(experiment_id, tags=RUN_TAGS, run_name=self.run.name)
        write_text(self.run.mlflow_file, run.info.run_id)
        return run.info.run_id

    def continue_run(self) -> str:
        """Return the id of the run that this folder names, "" if it names none.

        Raises TrackingError if the server does not have it, or has deleted it.
        """
        file = self.run.mlflow_file
        if not file.is_file():
            return ""
        run_id = file.read_text(encoding="utf-8")
        if self.find_run(run_id).info.lifecycle_stage == LifecycleStage.DELETED:
            raise TrackingError(
                f"MLflow's run {run_id}, which {file} continues, is deleted. Restore it: `mlflow "
                f"runs restore --run-id {run_id}`. Or delete this file to log the remaining steps "
                "to a new run."
            )
        self.client.update_run(run_id, status="RUNNING")
        return run_id

    def find_run(self, run_id: str) -> MLflowRun:
        """Return a run of the server; raises TrackingError if it has none of this id."""
        try:
            return self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise TrackingError(
                f"The server that MLFLOW_TRACKING_URI names has no run {run_id}, which "
                f"{self.run.mlflow_file} continues. Set the address of the server that has it, or "
                "delete this file to log the remaining steps to a new run."
            ) from error

    def send_parameters(self, recipe: dict, sent: Collection[str]) -> None:
        """Send those parameters that the run does not have; MLflow can change none."""
        missing = {k: v for k, v in flatten_parameters(recipe).items() if k not in sent}
        params = [Param(key, str(value)) for key, value in missing.items()]
        try:
            self.client.log_batch(self.run_id, params=params)
        except MlflowException:
            with suppress(MlflowException):
                self.client.set_terminated(self.run_id, "FAILED")
            raise

    def read_last_steps(self, names: Collection[str]) -> dict[str, int]:
        """Return the last step of each curve that the server has, or gets with the next flush."""
        points = [p for name in names for p in self.client.get_metric_history(self.run_id, name)]
        points += self.unsent.metrics
        return {point.key: point.step for point in sorted(points, key=lambda point: point.step)}

    def log_scalars(self, step: int, values: dict[str, float]) -> None:
        """Keep a point of each curve until `flush`, unless the server has this step."""
        milliseconds = int(time.time() * 1000)
        for name, value in values.items():
            if step > self.last_steps.get(name, -1):
                self.unsent.metrics.append(Metric(name, value, milliseconds, step))
                self.last_steps[name] = step

    def log_figure(self, step: int, file: Path) -> None:
        """Send a figure at once; it replaces an earlier one of the same name."""
        self.unsent.figures.append(file)
        self.flush()

    def flush(self) -> None:
        """Send what was kept; what cannot be sent is kept, also in a file, for the next time."""
        try:
            self.send()
        finally:
            self.unsent.save()

    def send(self) -> None:
        """Send curves, and figures that have been saved."""
        if self.unsent.metrics:
            self.client.log_batch(self.run_id, metrics=self.unsent.metrics)
            self.unsent.metrics = []
        with upload_timeout():
            while self.unsent.figures:
                file = self.unsent.figures[0]
                if file.is_file():  # a resumed run plots it again
                    self.client.log_artifact(self.run_id, str(file), "figures")
                self.unsent.figures.pop(0)

    def finish(self, step: int, metrics: dict[str, float], files: list[Path]) -> None:
        """Send metrics and files, register the model, and end the run.

        The model is last, since its registration can fail where the rest succeeds.
        """
        self.log_scalars(step, {f"results/{name}": value for name, value in metrics.items()})
        self.flush()
        models = [file for file in files if file.suffix == ".onnx"]
        try:
            with upload_timeout():
                for file in [file for file in files if file not in models]:
                    self.client.log_artifact(self.run_id, str(file))
                for file in models:
                    register_model(self.client, self.run_id, self.run, file, step)
        finally:
            self.client.set_terminated(self.run_id)


def flatten_parameters(recipe: dict, prefix: str = "") -> dict:
    """Return the parameters with those of a dictionary as `name.key`."""
    flat = {}
    for key, value in recipe.items():
        if isinstance(value, dict) and value:
            flat |= flatten_parameters(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
