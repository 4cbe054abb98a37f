"""Log a run to ClearML as a task, with its recipe, curves, figures, files and model.

ClearML's automatic logging is switched off: it would patch packages and read arguments, output and
the repository.
"""

import random
from pathlib import Path

from clearml import OutputModel, Task

from fieldmark.errors import TrackingError
from fieldmark.files import write_text
from fieldmark.run import Run
from fieldmark.training.tracking.tracker import Tracker

PROJECT = "Fieldmark"
FRAMEWORKS = dict.fromkeys(
    (
        *("detect_repository", "matplotlib", "tensorflow", "tensorboard", "tfdefines", "pytorch"),
        *("fastai", "scikit", "joblib", "hydra", "xgboost", "lightgbm", "catboost", "megengine"),
        "gradio",
    ),
    False,
)


class UnpublishedModel(OutputModel):
    """A new output model; ClearML 2.1 cannot determine offline that it is not published."""

    published = False  # pyright: ignore[reportAssignmentType]


class ClearML(Tracker):
    """Log to a task of ClearML; with CLEARML_OFFLINE_MODE=1 to a file on this machine."""

    def __init__(self, run: Run, recipe: dict):
        task_file = run.clearml_file  # names the task that a resumed run continues
        task_id = task_file.read_text(encoding="utf-8") if task_file.is_file() else False
        Task.set_random_seed(None)  # otherwise it seeds Python, numpy and torch
        random_state = random.getstate()  # Task.init draws from it
        try:
            self.task = Task.init(
                PROJECT,
                run.name,
                reuse_last_task_id=task_id,
                continue_last_task=0 if task_id else False,  # 0: our steps need no offset
                output_uri=True,
                auto_connect_arg_parser=False,
                auto_connect_frameworks=FRAMEWORKS,
                auto_resource_monitoring=False,
                auto_connect_streams=False,
            )
        except ValueError as error:
            raise TrackingError(
                "ClearML has no server configured. Run `.venv/bin/clearml-init`, or set "
                "CLEARML_OFFLINE_MODE=1 to keep its session on this machine."
            ) from error
        random.setstate(random_state)
        write_text(task_file, self.task.id)
        self.task.connect(dict(recipe), name="recipe")
        self.logger = self.task.get_logger()

    def log_scalars(self, step: int, values: dict[str, float]) -> None:
        """Report a point of each curve; curves of one kind share a chart."""
        for name, value in values.items():
            self.logger.report_scalar(*name.split("/"), value, step)

    def log_figure(self, step: int, file: Path) -> None:
        """Report a figure."""
        self.logger.report_image("figures", file.stem, step, str(file))

    def finish(self, step: int, metrics: dict[str, float], files: list[Path]) -> None:
        """Report the metrics, upload files and model, and close the task."""
        for name, value in metrics.items():
            self.logger.report_single_value(name, value)
        for file in files:
            if file.suffix == ".onnx":
                model = UnpublishedModel(self.task, name=file.name, framework="ONNX")
                model.update_weights(str(file), auto_delete_file=False, async_enable=False)
            # an import of an offline session uploads artifacts only: its model names this file here
            if file.suffix != ".onnx" or Task.is_offline():
                self.task.upload_artifact(file.name, file, wait_on_upload=True)
        self.task.close()
