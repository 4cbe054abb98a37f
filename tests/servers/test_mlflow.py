"""A real server of MLflow has each step, figure and file of a run once, and a model that loads.

`make test-servers` installs the server, which is not among the packages of the other tests.
"""

import json
import os
import random
import signal
import subprocess
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import mlflow.artifacts
import mlflow.onnx
import numpy as np
import onnx
import pytest
import requests
import torch
from fastai.vision.all import Callback
from mlflow.client import MlflowClient
from mlflow.exceptions import MlflowException

from birds import drawn
from birds.classifier import Classifier
from export.exporter import export_model
from fieldmark.errors import TrackingError
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.run import Run
from fieldmark.training.tracking.mlflow import MLflow
from fieldmark.training.tracking.mlflow_server import connect_to_mlflow
from fieldmark.training.tracking.tracking import TrackingWarning
from tests.browser import free_port, responds, wait_until
from tests.conftest import FACTS, ROOT, SIZE
from tests.tracked_runs import (
    RECIPE,
    PowerCutAtStep,
    PowerCutBeforeCheckpoint,
    read_curve,
    read_events,
    train_tracked,
)

PROGRAM = ROOT / ".venv/mlflow/bin/mlflow"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROGRAM.exists(), reason="MLflow's server is not installed: `make test-servers`"
    ),
]
METRICS = {"accuracy": {"value": 0.75}, "ece": {"value": 0.125}}
NESTED = RECIPE | {"teacher": {"arch": "resnet18", "options": {}}, "photos": "x" * 9000}


class Server:
    """A server of MLflow with a database and artifacts in a folder, as docs/training.md starts it.

    `stop` and `start` make an outage.
    """

    def __init__(self, folder):
        self.folder, port = folder, free_port()
        self.address = f"http://127.0.0.1:{port}"
        store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
        store += ["--artifacts-destination", str(folder / "artifacts")]
        self.command = [PROGRAM, "server", "--port", str(port), "--workers", "1", *store]
        self.start()

    def start(self):
        settings = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        own = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=own | settings,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: responds(f"{self.address}/health"))

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)

    def get(self, endpoint, **query):
        """Return the response of the REST API."""
        response = requests.get(f"{self.address}/{endpoint}", params=query, timeout=30)
        assert response.ok, response.text
        return response

    def read_run(self, out) -> dict:
        """Return the run that the folder names."""
        run_id = (out / "mlflow.txt").read_text()
        return self.get("api/2.0/mlflow/runs/get", run_id=run_id).json()["run"]

    def read_curve(self, run, name) -> dict[int, float]:
        """Return the values of a curve by step, none of which may occur twice."""
        path, run_id = "api/2.0/mlflow/metrics/get-history", run["info"]["run_id"]
        points = self.get(path, run_id=run_id, metric_key=name).json()["metrics"]
        curve = {int(point["step"]): point["value"] for point in points}
        assert len(curve) == len(points)
        return curve

    def read_artifact(self, run, path) -> bytes:
        return self.get("get-artifact", run_uuid=run["info"]["run_id"], path=path).content

    def list_figures(self, run) -> list[str]:
        path, run_id = "api/2.0/mlflow/artifacts/list", run["info"]["run_id"]
        found = self.get(path, run_id=run_id, path="figures").json().get("files", [])
        return [file["path"] for file in found]

    def assert_has_curves_of(self, out):
        """Assert that it has the curves of the run that TensorBoard has."""
        run, events = self.read_run(out), read_events(out)
        tags = events.Tags()["scalars"]
        assert {metric["key"] for metric in run["data"]["metrics"]} == set(tags)
        for tag in tags:
            assert self.read_curve(run, tag) == pytest.approx(read_curve(events, tag))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("mlflow"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server.address)
        yield server
    server.stop()


@pytest.fixture(scope="module")
def train(table, folder, settings, weights):
    """Return a function that trains a run for both trackers; TensorBoard is the oracle."""
    tracks = ("tensorboard", "mlflow")
    return partial(train_tracked, table, folder, settings, weights, track=tracks)


def finish(learn, tracking, table, folder):
    """Export the model, and finish the run."""
    options = UncertaintyOptions(ood_score="msp")
    export_model(learn.network, table, folder, FACTS, tracking.run.folder, options)
    (tracking.run.folder / "metrics.json").write_text(json.dumps(METRICS))
    tracking.finish(METRICS)


@pytest.fixture(scope="module")
def finished(server, train, table, folder, tmp_path_factory):
    """Train and finish a run, and return its folder."""
    out = tmp_path_factory.mktemp("finished")
    learn, tracking, _ = train(out)
    finish(learn, tracking, table, folder)
    return out


def test_the_server_has_each_step_figure_and_file_of_a_run(server, finished):
    run = server.read_run(finished)
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == finished.name
    parameters = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert parameters["learning_rate"] == "0.01"
    server.assert_has_curves_of(finished)
    last = max(server.read_curve(run, "loss/step"))
    assert server.read_curve(run, "results/accuracy") == {last: 0.75}
    assert server.list_figures(run) == ["figures/early.png", "figures/late.png"]
    for path in ("figures/early.png", "figures/late.png", "metrics.json", "split.csv", "gate.csv"):
        assert server.read_artifact(run, path) == (finished / path).read_bytes()


def test_the_registered_model_is_the_model_file_and_has_the_facts_of_its_card(server, finished):
    name, card = f"fieldmark-{finished.name}", Run(finished).card
    path = "api/2.0/mlflow/registered-models/get"
    (version,) = server.get(path, name=name).json()["registered_model"]["latest_versions"]
    assert version["run_id"] == (finished / "mlflow.txt").read_text()
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags.pop("fieldmark_version") == card["version"]
    accuracy = float(tags.pop("accuracy"))
    assert accuracy == pytest.approx(card["metrics"]["accuracy"]["value"], abs=1e-4)
    assert int(tags.pop("gate_photos")) == card["gate"]["photos"] > 0
    difference = float(tags.pop("gate_largest_difference"))
    assert difference == pytest.approx(card["gate"]["largest_difference"], 0.05)
    assert tags == {"licence": "MIT"}
    address = f"models:/{name}/{version['version']}"
    downloaded = mlflow.artifacts.download_artifacts(f"{address}/birds.onnx")
    assert Path(downloaded).read_bytes() == (finished / "birds.onnx").read_bytes()
    birds = np.stack([drawn.draw_bird(name, 1, SIZE, SIZE) for name in drawn.SPECIES])
    files = downloaded, finished / "birds.onnx"
    loaded, own = (Classifier(Path(file)).predict(birds) for file in files)
    assert np.array_equal(loaded.probability, own.probability)
    assert mlflow.onnx.load_model(address) == onnx.load(finished / "birds.onnx")


@pytest.mark.parametrize("cut", [PowerCutAtStep(8), PowerCutBeforeCheckpoint(), None])
def test_a_resumed_run_continues_the_run_of_the_server(server, train, table, folder, tmp_path, cut):
    if cut:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, cbs=[cut])
    else:
        train(tmp_path)  # interrupted after its last epoch
    run_id = (tmp_path / "mlflow.txt").read_text()
    learn, tracking, _ = train(tmp_path)
    assert (tmp_path / "mlflow.txt").read_text() == run_id
    server.assert_has_curves_of(tmp_path)
    figures = server.list_figures(server.read_run(tmp_path))
    assert figures == ["figures/early.png", "figures/late.png"]
    trackers = tracking.trackers
    finish(learn, tracking, table, folder)
    tracking.trackers = trackers[1:]  # interrupted before the files of the run were in place
    tracking.finish(METRICS)
    path, filter_ = "api/2.0/mlflow/model-versions/search", f"run_id = '{run_id}'"
    assert len(server.get(path, filter=filter_).json()["model_versions"]) == 1


class Outage(Callback):
    """Stop a server after an epoch; trackers get the epoch at order 78."""

    def __init__(self, server, order=90):
        self.server, self.order = server, order

    def after_epoch(self):
        if self.epoch == 0:
            self.server.stop()


def test_an_outage_loses_neither_the_training_nor_its_curves(
    server, train, table, folder, finished, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    try:
        with pytest.warns(TrackingWarning) as caught:
            learn, tracking, _ = train(tmp_path, cbs=[Outage(server)])
    finally:
        server.start()
    messages = [str(warning.message) for warning in caught]
    assert messages[0].startswith("MLflow does not have the curves of this epoch yet")
    assert messages[1].startswith("MLflow lacks a figure")
    finish(learn, tracking, table, folder)
    server.assert_has_curves_of(tmp_path)
    run = server.read_run(tmp_path)
    assert server.list_figures(run) == ["figures/early.png", "figures/late.png"]
    expected = Run(finished).card["data"]["sha256"], Run(finished).card["version"]
    assert (Run(tmp_path).card["data"]["sha256"], Run(tmp_path).card["version"]) == expected


def test_an_outage_in_which_the_process_ends_loses_no_curve_of_the_resumed_run(
    server, train, table, folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    cuts = [Outage(server, order=60), PowerCutAtStep(8)]  # after the first epoch's checkpoint
    try:
        with pytest.warns(TrackingWarning, match="epoch yet"), pytest.raises(KeyboardInterrupt):
            train(tmp_path, cbs=cuts)
    finally:
        server.start()
    assert Run(tmp_path).mlflow_unsent_file.is_file()
    train(tmp_path)
    assert not Run(tmp_path).mlflow_unsent_file.exists()
    server.assert_has_curves_of(tmp_path)
    figures = server.list_figures(server.read_run(tmp_path))
    assert figures == ["figures/early.png", "figures/late.png"]


def test_what_a_server_lacks_at_the_end_is_in_the_folder_of_the_run(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MLflow(Run(tmp_path), RECIPE)
    tracker.log_scalars(1, {"loss/step": 1.5})
    server.stop()
    try:
        with pytest.raises(MlflowException):
            tracker.finish(1, {"accuracy": 0.5}, [])
    finally:
        server.start()
    points = json.loads(Run(tmp_path).mlflow_unsent_file.read_text())["points"]
    kept = [(name, value, step) for name, value, _, step in points]
    assert kept == [("loss/step", 1.5, 1), ("results/accuracy", 0.5, 1)]


def test_a_model_that_cannot_be_registered_costs_no_table(server, finished, tmp_path, monkeypatch):
    tracker = MLflow(Run(tmp_path), RECIPE)
    tracker.run = Run(finished, "third name")  # whose model there is
    files = [finished / "birds.onnx", finished / "split.csv"]
    refuse = Mock(side_effect=MlflowException("registering is not permitted"))
    with monkeypatch.context() as patch:
        patch.setattr(tracker.client, "create_model_version", refuse)
        with pytest.raises(MlflowException, match="not permitted"):
            tracker.finish(1, {}, files)
    run = server.read_run(tmp_path)
    assert run["info"]["status"] == "FINISHED"
    assert server.read_artifact(run, "split.csv") == (finished / "split.csv").read_bytes()
    tracker.finish(1, {}, files)
    query = f"source_run_id = '{tracker.run_id}'"
    (model,) = tracker.client.search_logged_models([run["info"]["experiment_id"]], query)
    (version,) = tracker.client.search_model_versions(f"run_id = '{tracker.run_id}'")
    assert (version.source, model.status) == (f"models:/{model.model_id}", "READY")


def test_parameters_that_could_not_be_sent_are_sent_when_the_run_continues(
    server, tmp_path, monkeypatch
):
    refuse = Mock(side_effect=MlflowException("the database is locked"))
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", refuse)
        with pytest.raises(TrackingError, match="is locked"):
            MLflow(Run(tmp_path), RECIPE)
    run = server.read_run(tmp_path)
    assert (run["info"]["status"], run["data"].get("params")) == ("FAILED", None)
    for recipe in (RECIPE, RECIPE | {"learning_rate": 0.5}):  # MLflow can change no parameter
        assert MLflow(Run(tmp_path), recipe).run_id == run["info"]["run_id"]
    run = server.read_run(tmp_path)
    parameters = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert (run["info"]["status"], parameters["learning_rate"]) == ("RUNNING", "0.01")


def test_an_upload_may_take_longer_than_other_requests(server, finished, tmp_path, monkeypatch):
    timeouts = {}
    request = requests.Session.request

    def record(session, method, url, **options):
        timeouts.setdefault(method, set()).add(options["timeout"])
        return request(session, method, url, **options)

    monkeypatch.setattr(requests.Session, "request", record)
    MLflow(Run(tmp_path), RECIPE).log_figure(1, finished / "figures/early.png")
    assert (timeouts["PUT"], timeouts["POST"]) == ({300}, {20})


def test_the_recipe_is_flat_and_its_long_values_are_cut(server, tmp_path):
    MLflow(Run(tmp_path), NESTED)
    run = server.read_run(tmp_path)
    parameters = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert parameters["teacher.arch"] == "resnet18"
    assert parameters["teacher.options"] == "{}"
    assert len(parameters["photos"]) == 6000


def test_no_random_number_is_drawn(server, finished, tmp_path):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    tracker = MLflow(Run(tmp_path), RECIPE)
    tracker.log_scalars(1, {"loss/step": 1.0})
    tracker.log_figure(1, finished / "figures/early.png")
    tracker.run = Run(finished, "another name")  # whose model there is
    tracker.finish(1, {"accuracy": 0.5}, [finished / "split.csv", finished / "birds.onnx"])
    after = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    assert before[0] == after[0]
    assert all(np.array_equal(*pair) for pair in zip(before[1], after[1], strict=True))
    assert torch.equal(before[2], after[2])


def test_a_run_that_the_server_does_not_have_is_reported(server, tmp_path):
    (tmp_path / "mlflow.txt").write_text("0" * 32)
    with pytest.raises(TrackingError, match=r"has no run 0{32}, which .*mlflow\.txt"):
        MLflow(Run(tmp_path), RECIPE)


def test_a_deleted_run_is_reported_with_the_command_that_restores_it(server, tmp_path):
    tracker = MLflow(Run(tmp_path), RECIPE)
    tracker.client.delete_run(tracker.run_id)
    command = f"mlflow runs restore --run-id {tracker.run_id}"
    with pytest.raises(TrackingError, match=rf"is deleted.*{command}.*delete this file"):
        MLflow(Run(tmp_path), RECIPE)
    subprocess.run([PROGRAM, *command.split()[1:]], check=True)
    assert MLflow(Run(tmp_path), RECIPE).run_id == tracker.run_id


def test_a_deleted_experiment_is_reported_with_the_command_that_restores_it(server, tmp_path):
    tracker = MLflow(Run(tmp_path), RECIPE)
    experiment_id = tracker.client.get_run(tracker.run_id).info.experiment_id
    tracker.client.delete_experiment(experiment_id)
    command = f"mlflow experiments restore --experiment-id {experiment_id}"
    with pytest.raises(TrackingError, match=f"is deleted.*{command}"):
        connect_to_mlflow()
    subprocess.run([PROGRAM, *command.split()[1:]], check=True)
    connect_to_mlflow()
