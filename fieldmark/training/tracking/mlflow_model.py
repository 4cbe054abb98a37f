"""Register the model of a run in MLflow's registry, with the facts of its card as tags."""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.client import MlflowClient
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from fieldmark.run import Run


def register_model(client: MlflowClient, run_id: str, run: Run, file: Path, step: int) -> None:
    """Upload a model file as a model of MLflow, and register it as a version of `fieldmark-NAME`.

    A run has one model and one version, also if its end was interrupted and is repeated.
    `mlflow.onnx.load_model` loads it.
    """
    name = registered_name(run)
    if client.search_model_versions(f"run_id = '{run_id}'"):
        return
    model_id = upload_model(client, run_id, run, file, step)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    text = f"Trained on {run.card['trained_on']}"
    source, tags = f"models:/{model_id}", describe_card(run.card)
    client.create_model_version(name, source, run_id, tags, description=text, model_id=model_id)


def upload_model(client: MlflowClient, run_id: str, run: Run, file: Path, step: int) -> str:
    """Upload a model file as the output of a run, and return the id of MLflow's model."""
    logged = client.get_run(run_id)
    experiment_id = logged.info.experiment_id
    earlier = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    if earlier:
        model = earlier[0]
    else:
        tags = describe_card(run.card)
        model = client.create_logged_model(experiment_id, file.stem, run_id, tags)
    with TemporaryDirectory() as scratch:
        shutil.copyfile(file, Path(scratch, file.name))
        description = Model(run_id=run_id, model_id=model.model_id)
        onnx_version = run.card["versions"]["onnx"]
        description.add_flavor("onnx", onnx_version=onnx_version, data=file.name)
        description.save(str(Path(scratch, "MLmodel")))
        client.log_model_artifacts(model.model_id, scratch)
    client.finalize_logged_model(model.model_id, "READY")
    if not (logged.outputs and logged.outputs.model_outputs):  # MLflow refuses it a second time
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    return model.model_id


def registered_name(run: Run) -> str:
    """Return the name of a run's registered model; MLflow forbids slashes and colons."""
    return "fieldmark-" + re.sub("[/:]", "-", run.name)


def describe_card(card: dict) -> dict[str, str]:
    """Return what a reader of the registry asks first."""
    return {
        "fieldmark_version": card["version"],
        "accuracy": f"{card['metrics']['accuracy']['value']:.4f}",
        "gate_photos": str(card["gate"]["photos"]),
        "gate_largest_difference": f"{card['gate']['largest_difference']:.2g}",
        "licence": card["licence"],
    }
