"""ClearML: a run as a task there, with its recipe, curves, figures, files and model.

ClearML likes to take a program over. Here it is told what it gets, and nothing else: it patches
no package, reads no arguments, output or repository, and asks nobody for newer versions of itself.
"""

import random
from pathlib import Path

from clearml import OutputModel, Task

from fieldmark.errors import TrackingError
from fieldmark.training.tracking.trackers import Tracker

PROJECT = "Fieldmark"
KNOWN = "clearml.txt"  # in the run's folder: the task that a run which was stopped goes on with
ALONE = dict.fromkeys(
    (
        *("detect_repository", "matplotlib", "tensorflow", "tensorboard", "tfdefines", "pytorch"),
        *("fastai", "scikit", "joblib", "hydra", "xgboost", "lightgbm", "catboost", "megengine"),
        "gradio",
    ),
    False,
)


class NewModel(OutputModel):
    """An output model that nobody has published yet; ClearML 2.1 can't find that out offline."""

    published = False


class ClearML(Tracker):
    """Report to a task in ClearML; with CLEARML_OFFLINE_MODE=1 to a file on this machine."""

    def __init__(self, out: Path, recipe: dict):
        known = Path(out) / KNOWN
        before = known.read_text(encoding="utf-8") if known.is_file() else False
        Task.set_random_seed(None)  # or it seeds Python, numpy and torch by a number of its own
        drawn = random.getstate()  # of which it takes some
        try:
            self.task = Task.init(
                PROJECT,
                Path(out).name,
                reuse_last_task_id=before,
                continue_last_task=0 if before else False,  # 0: steps are counted here
                output_uri=True,
                auto_connect_arg_parser=False,
                auto_connect_frameworks=ALONE,
                auto_resource_monitoring=False,
                auto_connect_streams=False,
            )
        except ValueError as error:
            raise TrackingError(
                "ClearML does not know its server. Run `.venv/bin/clearml-init`, or set "
                "CLEARML_OFFLINE_MODE=1 to keep its session on this machine."
            ) from error
        random.setstate(drawn)
        known.write_text(self.task.id, encoding="utf-8")
        self.task.connect(dict(recipe), name="recipe")
        self.log = self.task.get_logger()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Report a point of each curve; those of one kind share a chart."""
        for name, value in values.items():
            self.log.report_scalar(*name.split("/"), value, step)

    def figure(self, step: int, file: Path) -> None:
        """Report a picture."""
        self.log.report_image("figures", file.stem, step, str(file))

    def end(self, step: int, measured: dict[str, float], files: list[Path]) -> None:
        """Report what was measured, upload files and model, and close the task."""
        for name, value in measured.items():
            self.log.report_single_value(name, value)
        for file in files:
            if file.suffix == ".onnx":
                model = NewModel(self.task, name=file.name, framework="ONNX")
                model.update_weights(str(file), auto_delete_file=False, async_enable=False)
            else:
                self.task.upload_artifact(file.name, file, wait_on_upload=True)
        self.task.close()
