"""`fieldmark train` runs the notebook by a recipe, resumes it, and reports what is wrong."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
import torch
import yaml
from nbclient import NotebookClient
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from birds.classifier import Classifier
from commands.train import train
from fieldmark.checkpoints import epoch_of, list_checkpoints
from fieldmark.errors import DatasetError, RecipeError, RunError, WeightsError
from fieldmark.files import sha256_file
from fieldmark.run import Run
from tests import trees
from tests.conftest import ARCH, ROOT

pytestmark = pytest.mark.slow
EPOCHS = 12


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, finder_file):
    """Return a folder for recipes and runs, and make it the working directory."""
    path = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'azure_function'}")
        patch.setenv("FIELDMARK_FINDER", str(finder_file))  # quick, whatever is published
        yield path


def write_recipe(stem: str, **values) -> Path:
    """Write a recipe of tiny photos and one epoch a phase; return its path."""
    small = {"arch": ARCH, "size": 32, "batch_size": 16, "frozen_epochs": 1, "epochs": 1}
    path = Path(f"{stem}.yaml")
    path.write_text(yaml.safe_dump(small | values))
    return path


def start(*arguments: Path | str) -> psutil.Popen:
    """Start `fieldmark train` as a process."""
    command = [sys.executable, "-m", "commands", "train", *map(str, arguments)]
    return psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def latest_checkpoints(folder: Path) -> list[Path]:
    return list_checkpoints(folder / "unfinished/checkpoints", "fine-tuning")


def wait_for(condition, process: psutil.Popen) -> None:
    while process.is_running() and not condition():
        time.sleep(0.02)


@pytest.fixture(scope="module")
def resumed(workspace, weights):
    """Kill a run after some epochs and start it again; return its folder and the killed history."""
    photos = trees.make_birds_400(workspace / "birds-400")
    values = {"photos": str(photos), "test_name": "hand-picked", "track": ["tensorboard"]}
    values |= {"weights": str(weights), "epochs": EPOCHS}
    path = write_recipe("resumed", **values)
    folder = Path("runs/resumed")
    first, last = start(path), random.randint(2, 4)
    wait_for(lambda: any(epoch_of(file) >= last for file in latest_checkpoints(folder)), first)
    processes = [*first.children(recursive=True), first]
    for process in processes:
        process.suspend()
    beside = start(path)
    _, message = beside.communicate(timeout=300)
    assert beside.returncode == 2
    assert message.startswith(
        f"runs/resumed is being trained or exported by process {first.pid}, since 20"
    )
    for process in processes:
        process.kill()
    first.communicate()
    damaged = latest_checkpoints(folder)[0]
    assert last <= epoch_of(damaged) < EPOCHS
    content = bytearray(damaged.read_bytes())
    content[1000:1020] = bytes(byte ^ 255 for byte in content[1000:1020])
    damaged.write_bytes(content)
    before = torch.load(latest_checkpoints(folder)[1], weights_only=True)["history"]
    second = start(path)
    output, errors = second.communicate(timeout=900)
    assert second.returncode == 0, errors
    assert not errors  # no warning of a kernel's transport or end
    assert f"{damaged} is damaged" in output
    assert f"fine-tuning, epoch {len(before)}" in output
    return workspace / folder, pd.DataFrame(before)


def test_a_killed_run_resumes_after_its_last_epoch(resumed):
    folder, killed = resumed
    history = pd.read_csv(folder / "history.csv").query("phase == 'fine-tuning'")
    assert history["epoch"].tolist() == list(range(1, EPOCHS + 1))
    columns = ["train_loss", "valid_loss", "seconds"]
    kept = history[columns].head(len(killed)).to_numpy()
    assert kept == pytest.approx(killed[columns].to_numpy(), rel=1e-4)


def test_a_run_holds_a_model_that_serves_and_all_its_files(resumed):
    folder, _ = resumed
    card = Classifier(folder / "birds.onnx").card
    split = pd.read_csv(folder / "split.csv")["split"].value_counts()
    assert len(card["labels"]) == 6
    assert card["weights"]["start"] == "tiny.safetensors"
    assert card["recipe"]["epochs"] == EPOCHS
    assert "out" not in card["recipe"]
    assert set(split.index) == {"train", "valid", "calibration", "hand-picked"}
    assert card["tests"]["hand-picked"]["accuracy"]["n"] == split["hand-picked"]
    run = Run(folder)
    run.check_complete()
    files = {*run.model_files, *run.result_files, run.notebook_file}
    assert set(folder.iterdir()) == files | {run.figures, run.tensorboard, folder / ".lock"}
    assert run.card["training"]["seconds"] > run.history["seconds"].sum()  # of both sessions


def test_the_executed_notebook_shows_every_figure(resumed):
    folder, _ = resumed
    cells = nbformat.read(folder / "train.ipynb", 4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    assert pictures == len(list((folder / "figures").glob("*.png"))) + 1  # that of lr_find


def test_tensorboard_has_scalars_and_figures_of_a_run(resumed):
    folder, _ = resumed
    tags = EventAccumulator(str(folder / "tensorboard")).Reload().Tags()
    assert {"pictures/classes", "pictures/confusion", "pictures/top-losses"} <= set(tags["images"])
    assert {"loss/step", "rate/head", "results/accuracy"} <= set(tags["scalars"])


def test_a_run_continues_from_the_weights_of_another_and_distils_it(resumed, weights):
    folder, _ = resumed
    teacher = {"arch": ARCH, "weights": str(weights), "num_classes": 3}
    values = yaml.safe_load((folder / "recipe.yaml").read_text()) | {
        "weights": str(folder / "birds.safetensors"),
        "teacher": teacher | {"run": str(folder), "probe_weight": 0.5},
        **{"head_init": "weights", "frozen_epochs": 0, "epochs": 1, "learning_rate": 0.0},
        **{"track": [], "tta_views": 1},
    }
    train(write_recipe("unused", **values), name="continued")
    after = Path("runs/continued")
    card, before = (Classifier(each / "birds.onnx").card for each in (after, folder))
    assert card["name"] == "continued"
    assert card["weights"]["run"]["version"] == before["version"]
    assert card["weights"]["run"]["weights"]["start"] == "tiny.safetensors"
    assert card["teacher"]["run"]["version"] == before["version"]
    new, old = (load_file(each / "birds.safetensors") for each in (after, folder))
    matrices = [name for name, value in new.items() if value.ndim > 1]
    assert matrices
    assert all(torch.equal(new[name], old[name]) for name in matrices)  # the rate is 0


def test_a_competition_with_a_teacher_gets_a_file_of_predictions(workspace, weights, capsys):
    photos = trees.make_competition(workspace / "competition")
    path = write_recipe("competition", photos=str(photos), weights=str(weights))
    teacher = json.dumps({"arch": ARCH, "weights": str(weights), "num_classes": 3})
    train(path, settings=[f"teacher={teacher}", "accumulation_steps=2", "mixup=0.4"])
    folder = Path("runs/competition")
    split = pd.read_csv(folder / "split.csv")["split"].value_counts()
    predictions = pd.read_csv(folder / "competition.csv")
    assert list(predictions.columns) == ["path", "class"]
    assert len(predictions) == split["unlabelled"]
    assert Classifier(folder / "birds.onnx").card["teacher"]["architecture"] == ARCH
    assert "runs/competition" in capsys.readouterr().out


def test_an_error_in_the_notebook_is_reported_and_leaves_the_files_of_the_last_run(
    workspace, weights, resumed
):
    folder, _ = resumed
    before = {file: sha256_file(file) for file in folder.rglob("*.*") if file.suffix}
    photos = trees.make_birds_400(workspace / "duplicates")
    original = next((photos / "test").glob("*/*.jpg"))
    copy = photos / "train" / original.parent.name / "copy.jpg"
    copy.write_bytes(original.read_bytes())
    path = write_recipe("duplicates", photos=str(photos), weights=str(weights))
    process = start(path, "--name", folder.name)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert f"test/{original.parent.name}/{original.name}" in errors
    assert "Traceback" not in errors
    after = {file: sha256_file(file) for file in folder.rglob("*.*") if file.suffix}
    new = {file.relative_to(folder).parts[0] for file in after.keys() - before.keys()}
    assert new == {"unfinished"}
    assert before.items() <= after.items()
    Run(folder).check_complete()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"photos": "/no/such/folder"}, DatasetError, "`photos`.*FIELDMARK_PHOTOS"),
        ({"weights": "none.safetensors"}, WeightsError, "`weights`.*FIELDMARK_WEIGHTS"),
        ({"teacher": {"arch": ARCH, "run": "runs/none"}}, RunError, "`teacher`.*runs/none"),
        ({"not_birds": "none"}, DatasetError, "`not_birds`.*FIELDMARK_NOT_BIRDS"),
        ({"open_set_run": "runs/none"}, RunError, "`open_set_run`.*runs/none"),
        ({"out": "elsewhere"}, RecipeError, "`out`"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_recipe_is_reported_before_the_notebook_runs(workspace, values, error, message):
    with pytest.raises(error, match=message):
        train(write_recipe("wrong", **values))
    assert not Path("runs/wrong").exists()


@pytest.mark.parametrize("name", ["../elsewhere", "a/b"])
def test_a_run_outside_runs_is_refused(workspace, name):
    with pytest.raises(RecipeError, match=name):
        train(write_recipe("wrong"), name=name)


@pytest.mark.parametrize("setting", ["epochs", "epoch=3", "epochs=many", "rate=0.1"])
def test_a_wrong_setting_on_the_command_line_is_reported(workspace, setting):
    with pytest.raises(RecipeError, match=setting.split("=")[0]):
        train(write_recipe("wrong"), settings=[setting])


def test_the_notebook_run_by_hand_learns_the_drawn_birds(workspace):
    notebook = nbformat.read(ROOT / "train.ipynb", 4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": workspace}}).execute()
    card = Classifier(workspace / "runs/notebook/birds.onnx").card
    assert card["metrics"]["accuracy"]["value"] > 0.5  # by chance it would be 1/6
