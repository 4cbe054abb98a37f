"""Runs reach ClearML, at once or by an offline session, complete and with no step twice.

Its server needs Docker, so tests/fake_clearml.py stands in for it.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.fake_clearml import FakeClearML, serve
from tests.tracked_runs import RECIPE

pytestmark = pytest.mark.slow
NESTED = RECIPE | {"teacher": {"arch": "resnet18"}}

PREAMBLE = """
    import json, os, psutil, random, socket, sys
    from pathlib import Path

    def only_here(function):
        def call(*arguments, **options):
            if "127.0.0.1" in str(arguments):
                return function(*arguments, **options)
            with open("network.txt", "a") as file:
                file.write(f"{arguments}\\n")
            raise OSError("there is no network")
        return call

    socket.socket.connect = only_here(socket.socket.connect)
    socket.getaddrinfo = only_here(socket.getaddrinfo)
    for package in ("fastai", "torch", "azure", "rfc3987_syntax"):
        sys.modules[package] = None  # ClearML would import it if it can, which takes seconds
    from fieldmark.training.tracking.clearml import ClearML, Task
    from clearml.backend_interface.metrics.reporter import BackgroundReportService as Reports
    from fieldmark.errors import TrackingError
    from fieldmark.run import Run

    begin, faster = Reports.__init__, {"flush_frequency": 0.5}  # seconds; 5 otherwise
    Reports.__init__ = lambda *arguments, **options: begin(*arguments, **options | faster)
    recipe = json.loads(Path("recipe.json").read_text())
    run = Run("my-run")
    run.folder.mkdir(exist_ok=True)

    def cut_power():
        for process in psutil.Process().children():  # the process that reports
            process.kill()
        os._exit(0)
"""


def session(folder, lines, **settings):
    """Run lines with a tracker in a process that reaches this computer only.

    ClearML patches its process.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CLEARML")
    }
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "CLEARML_CACHE_DIR": str(folder)}
    code = textwrap.dedent(PREAMBLE) + textwrap.dedent(lines)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | settings,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "network.txt").exists(), (folder / "network.txt").read_text()
    return done.stdout


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Start a run with ClearML, first without a server, then offline, and kill its process."""
    folder = tmp_path_factory.mktemp("clearml")
    (folder / "recipe.json").write_text(json.dumps(NESTED))
    lines = """
        try:
            ClearML(run, recipe)
        except TrackingError as error:
            print(error)
        Task.set_offline(True)
        random.seed(1)
        ClearML(run, recipe)
        assert random.random() == random.Random(1).random()  # the seed is unchanged
        cut_power()
    """
    return folder, session(folder, lines)


def test_clearml_without_a_server_reports_what_to_do(interrupted):
    assert "clearml-init" in interrupted[1]
    assert "CLEARML_OFFLINE_MODE=1" in interrupted[1]


FINISH = """
    clearml = ClearML(run, recipe)
    clearml.resume(1)
    clearml.log_scalars(2, {"loss/step": 1.5, "loss/valid": 1.75})
    clearml.log_figure(2, Path("confusion.png"))
    clearml.finish(2, {"accuracy": 0.75}, [Path("split.csv"), Path("birds.onnx")])
    assert Task.current_task() is None  # closed
"""


def write_results(folder):
    """Write files of a finished run."""
    Image.new("RGB", (8, 6), "red").save(folder / "confusion.png")
    (folder / "split.csv").write_text("path,label\n")
    (folder / "birds.onnx").write_bytes(b"a model")


def settings_for(address) -> dict[str, str]:
    """Return the settings of a client of this server."""
    keys = {"CLEARML_API_ACCESS_KEY": "key", "CLEARML_API_SECRET_KEY": "secret"}
    hosts = {"CLEARML_API_HOST": address, "CLEARML_WEB_HOST": address}
    return keys | hosts | {"CLEARML_FILES_HOST": f"{address}/files"}


def assert_delivered(fake: FakeClearML, task: dict, folder, steps: set[int]):
    """Assert that the server has everything of the run, and all files by their addresses."""
    assert (task["name"], task["status"]) == ("my-run", "completed")
    assert fake.projects[task["project"]]["name"] == "Fieldmark"
    parameters = {name: each["value"] for name, each in task["hyperparams"]["recipe"].items()}
    assert parameters["learning_rate"] == "0.01"
    assert parameters["teacher/arch"] == "resnet18"
    scalars = fake.scalars()
    assert {step for metric, name, step in scalars if (metric, name) == ("loss", "step")} == steps
    assert scalars["loss", "step", 2] == 1.5
    assert scalars["loss", "valid", 2] == 1.75
    assert [value for (_, name, _), value in scalars.items() if name == "accuracy"] == [0.75]
    (figure,) = (event for event in fake.events if event.get("variant") == "confusion")
    assert fake.read_file(figure["url"]) == (folder / "confusion.png").read_bytes()
    uploaded = {each["key"]: each["uri"] for each in task["execution"]["artifacts"]}
    assert fake.read_file(uploaded["split.csv"]) == (folder / "split.csv").read_bytes()
    (model,) = fake.models.values()
    assert (model["framework"], model["task"]) == ("ONNX", task["id"])
    assert task["models"]["output"] == [model["id"]]
    address = uploaded.get("birds.onnx", model["uri"])  # an artifact if the session was offline
    assert fake.read_file(address) == (folder / "birds.onnx").read_bytes()


def test_an_offline_session_of_a_resumed_run_delivers_everything_to_a_server(interrupted):
    folder = interrupted[0]
    write_results(folder)
    session(folder, FINISH, CLEARML_OFFLINE_MODE="1")
    (kept,) = (folder / "offline").glob("*.zip")
    assert kept.stem.endswith((folder / "my-run/clearml.txt").read_text())
    fake = FakeClearML()
    with serve(fake) as address:
        session(folder, f"Task.import_offline_session({str(kept)!r})", **settings_for(address))
    (task,) = fake.tasks.values()
    assert_delivered(fake, task, folder, {2})
    assert (folder / "birds.onnx").is_file()


def test_a_server_has_every_step_of_a_resumed_run_once(tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps(NESTED))
    write_results(tmp_path)
    begin = """
        clearml = ClearML(run, recipe)
        clearml.log_scalars(1, {"loss/step": 2.0})
        clearml.task.flush(wait_for_uploads=True)
        cut_power()
    """
    fake = FakeClearML()
    with serve(fake) as address:
        session(tmp_path, begin, **settings_for(address))
        session(tmp_path, FINISH, **settings_for(address))
    (task,) = fake.tasks.values()
    assert task["id"] == (tmp_path / "my-run/clearml.txt").read_text()
    assert_delivered(fake, task, tmp_path, {1, 2})
