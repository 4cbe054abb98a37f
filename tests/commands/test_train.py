"""A recipe is checked before anything runs, and the notebook runs by it from end to end."""

import json
import os
import random
import subprocess
import sys
import time

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
from fieldmark import recipe
from fieldmark.data import locations as photos
from fieldmark.recipe import RecipeError
from fieldmark.run import Run
from tests import trees
from tests.conftest import ARCH, ROOT


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def write(folder, **keys):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"epoch": 3}, r"no parameter `epoch`. Did you mean epochs"),
        ({"rate": "1e-3"}, r"`rate: 1e-3` must be of type float. YAML reads 1e-3 as text"),
        ({"epochs": 2.5}, "must be of type int"),
        ({"epochs": True}, "must be of type int"),
        ({"optimizer": "adam"}, "must be one of: adamw, sgd"),
        ({"schedule": "linear"}, "must be one of: one cycle, warm restarts, flat cosine"),
        ({"dropout": 1.5}, "`dropout: 1.5` must be from 0 to 1"),
        ({"batch_size": 0}, "must be from 1"),
        ({"mixup": 0.4, "cutmix": 1.0}, "set one to 0"),
        ({"epochs": 0, "frozen_epochs": 0}, "nothing is learned"),
        ({"arch": "test_vit", "resize_from": 0.5}, "`test_vit` takes photos of one size only"),
        ({"head_from": "body"}, "must be one of: random, probe, weights"),
        ({"teacher": {"weights": "random"}}, "needs an `arch`"),
        ({"arch_options": {"dropout": 0.3}}, "can't hold `dropout`: that is a key of its own"),
        ({"arch_options": {"mean": 0.5}}, "needs three numbers for `mean`"),
        ({"teacher": {"arch": "mobilenet_v2"}}, "no architecture `mobilenet_v2`. Did you mean"),
        ({"arch": "eficientnet_b0"}, r"no architecture `eficientnet_b0`. Did you mean .*efficient"),
    ],
)
def test_a_wrong_recipe_is_told_in_a_sentence(tmp_path, keys, message):
    with pytest.raises(RecipeError, match=message):
        recipe.read(write(tmp_path, **keys))


def test_what_is_not_yaml_is_told(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("photos: [drawn")
    with pytest.raises(RecipeError, match="not YAML"):
        recipe.read(path)


def test_a_whole_number_will_do_for_a_rate(tmp_path):
    assert recipe.read(write(tmp_path, rate=1))["rate"] == 1


def test_a_missing_recipe_names_those_there_are(tmp_path):
    with pytest.raises(RecipeError, match=r"families/resnet18\.yaml.*quick\.yaml"):
        recipe.read(tmp_path / "none.yaml")


def train(path, **environment):
    """Run a recipe as `make train` does."""
    command = [sys.executable, "-m", "fieldmark.recipe", str(path)]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=900
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"photos": "/no/such/folder"}, "FIELDMARK_PHOTOS"),
        ({"weights": "none.safetensors"}, "FIELDMARK_WEIGHTS"),
        ({"epochs": "many"}, "must be of type int"),
        ({"tune_share": 0}, "no split"),
        ({"teacher": {"arch": ARCH, "weights": "random", "run": "runs/none"}}, "runs/none"),
    ],
)
def test_what_is_missing_is_told_with_exit_status_2(tmp_path, keys, message):
    done = train(write(tmp_path, **keys))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory, weights):
    """Run the notebook quickly, on drawn birds, from weights in a file."""
    tmp_path = tmp_path_factory.mktemp("recipe")
    folder = photos.draw(tmp_path / "birds", count=15)
    path = tmp_path / "test-notebook.yaml"
    keys = {"photos": str(folder), "weights": str(weights), "arch": ARCH, "size": 64}
    keys |= {"frozen_epochs": 1, "epochs": 1, "batch_size": 16}
    path.write_text(yaml.safe_dump(keys))
    done = train(path)
    assert done.returncode == 0, done.stderr
    return ROOT / "runs" / "test-notebook"


def test_the_notebook_runs_and_leaves_a_model_that_serves(trained):
    classifier = Classifier(trained / "birds.onnx")
    assert len(classifier.labels) == 6
    assert classifier.card["weights"]["start"] == "tiny.safetensors"
    assert len(classifier.card["weights"]["sha256"]) == 64
    assert classifier.card["recipe"]["epochs"] == 1
    run = Run(trained)
    run.check_complete()
    expected = {*run.model_files, *run.result_files, run.notebook_file, run.figures}
    assert set(trained.iterdir()) == expected | {run.checkpoints}
    history = pd.read_csv(trained / "history.csv")
    assert history["stage"].tolist() == ["frozen", "fine-tuning"]
    assert len(list((trained / "figures").glob("*.png"))) == 10
    training = run.card["training"]
    assert training["seconds"] > history["seconds"].sum()
    assert training["kept_epoch"] == {"phase": "fine-tuning", "epoch": 1}


def test_a_run_goes_on_from_another_and_learns_from_it(trained, tmp_path, weights):
    settings = yaml.safe_load((trained / "recipe.yaml").read_text())
    file = trained / "birds.safetensors"
    begun = settings | {"weights": str(file), "head_from": "weights", "frozen_epochs": 0}
    begun |= {"rate": 0.0}
    begun["teacher"] = {"arch": ARCH, "weights": str(weights), "classes": 3}
    begun["teacher"] |= {"run": str(trained), "probe_share": 0.5}
    path = write(tmp_path, **begun).rename(tmp_path / "test-begun.yaml")
    done = train(path)
    assert done.returncode == 0, done.stderr
    out = ROOT / "runs/test-begun"
    card, old = (Classifier(each / "birds.onnx").card for each in (out, trained))
    assert card["weights"]["run"]["version"] == old["version"]
    assert card["weights"]["run"]["weights"]["start"] == "tiny.safetensors"
    assert card["teacher"]["run"]["version"] == old["version"]
    kept, known = (load_file(each / "birds.safetensors") for each in (out, trained))
    weights = [name for name, value in kept.items() if value.ndim > 1]
    assert weights
    assert all(torch.equal(kept[name], known[name]) for name in weights)  # by a rate of 0
    settings["head_from"] = "weights"
    done = train(write(tmp_path, **settings))
    assert done.returncode == 2
    assert "`weights` that a run left" in done.stderr


def test_the_run_notebook_tells_the_story(trained):
    notebook = nbformat.read(trained / "train.ipynb", 4)
    printed = json.dumps([cell.get("outputs") for cell in notebook.cells])
    for words in ("lr_find suggests", "95 % interval", "photos, all answered alike", "rates: "):
        assert words in printed
    pictures = sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert pictures == 11  # the figures, and that of lr_find


def keys(weights, **more) -> dict:
    """Return a small recipe: tiny photos, one epoch of each stage."""
    small = {"arch": ARCH, "weights": str(weights), "size": 32, "batch_size": 16}
    return small | {"frozen_epochs": 1, "epochs": 1} | more


FOLLOWED = ["csv", "tensorboard"]


@pytest.mark.parametrize(
    ("tree", "more", "test"),
    [
        (trees.birds_400, {"test_name": "hand-picked", "track": FOLLOWED}, "hand-picked"),
        (trees.cub, {"crop_to_box": True, "mixup": 0.4, "average": 0.9}, "test"),
        (trees.nabirds, {"optimizer": "sgd", "schedule": "flat cosine", "views": 1}, "test"),
        (trees.competition, {"teacher": {"arch": ARCH, "classes": 3}, "accumulate": 2}, None),
    ],
    ids=["birds-400", "cub", "nabirds", "competition"],
)
def test_the_notebook_runs_on_every_kind_of_source(tmp_path, weights, tree, more, test, capsys):
    if "teacher" in more:
        more["teacher"]["weights"] = str(weights)
    path = write(tmp_path, **keys(weights, photos=str(tree(tmp_path / "tree")), **more))
    path = path.rename(tmp_path / f"test-{tree.__name__}.yaml")
    out = recipe.run(path)
    card = Classifier(out / "birds.onnx").card
    parts = pd.read_csv(out / "split.csv")["split"].value_counts()
    assert set(parts.index) == {"train", "valid", "calibration", test or "unlabelled"}
    assert (out / "log.csv").is_file() == ("track" in more)
    if "track" in more:
        assert pd.read_csv(out / "log.csv")["stage"].tolist() == ["frozen", "fine-tuning"]
        told = EventAccumulator(str(out / "tensorboard")).Reload().Tags()
        assert {"pictures/classes", "pictures/confusion"} <= set(told["images"])
        assert "pictures/top-losses" in told["images"]
        assert {"loss/step", "rate/head", "results/accuracy"} <= set(told["scalars"])
    if test:
        assert card["tests"][test]["accuracy"]["n"] == parts[test]
        assert f"{test}: " in capsys.readouterr().out
    else:
        sent = pd.read_csv(out / "competition.csv")
        assert list(sent.columns) == ["path", "class"]
        assert len(sent) == parts["unlabelled"]
        assert card["teacher"]["architecture"] == ARCH


def test_a_duplicate_across_splits_is_refused_by_the_notebook(tmp_path, weights):
    tree = trees.birds_400(tmp_path / "tree")
    planted = next((tree / "test").glob("*/*.jpg"))
    copy = tree / "train" / planted.parent.name / "copy.jpg"
    copy.write_bytes(planted.read_bytes())
    done = train(write(tmp_path, **keys(weights, photos=str(tree))))
    assert done.returncode == 2
    assert "What judges has taught" in done.stderr
    assert f"test/{planted.parent.name}/{planted.name}" in done.stderr


def test_a_run_that_is_killed_goes_on_from_its_last_epoch(tmp_path, weights):
    at = random.randint(1, 4)  # of many, so that it is killed before its end on a busy machine too
    folder = photos.draw(tmp_path / "birds", count=15)
    path = write(tmp_path, **keys(weights, photos=str(folder), epochs=20))
    path = path.rename(tmp_path / "test-killed.yaml")
    checkpoint = ROOT / "runs/test-killed/checkpoints/fine-tuning.pt"
    checkpoint.unlink(missing_ok=True)
    command = [sys.executable, "-m", "fieldmark.recipe", str(path)]
    running = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.is_running() and epoch_of(checkpoint) < at:
        time.sleep(0.02)
    for process in [*running.children(recursive=True), running]:
        process.kill()
    running.wait()
    kept = torch.load(checkpoint, weights_only=True)["history"]
    assert at <= len(kept) < 20
    done = train(path)
    assert done.returncode == 0, done.stderr
    assert f"goes on from there: fine-tuning, epoch {len(kept)}" in done.stdout
    history = pd.read_csv(ROOT / "runs/test-killed/history.csv").query("stage == 'fine-tuning'")
    assert history["epoch"].tolist() == list(range(1, 21))
    before = pd.DataFrame(kept)[["train_loss", "seconds"]]
    assert history[["train_loss", "seconds"]].head(len(kept)).to_numpy() == pytest.approx(
        before.to_numpy(), rel=1e-4
    )
    run = Run(ROOT / "runs/test-killed")
    assert run.seconds > run.history["seconds"].sum()  # of both sessions


def epoch_of(checkpoint) -> int:
    return torch.load(checkpoint, weights_only=True)["epoch"] if checkpoint.is_file() else 0


def test_run_all_in_jupyter_learns_the_drawn_birds():
    notebook = nbformat.read(ROOT / "train.ipynb", 4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": ROOT}}).execute()
    card = Classifier(ROOT / "runs/notebook/birds.onnx").card
    assert card["metrics"]["accuracy"]["value"] > 0.5  # by chance it would be 1/6


def test_the_committed_notebook_has_no_outputs_and_one_parameters_cell():
    notebook = nbformat.read(ROOT / "train.ipynb", 4)
    assert not [cell for cell in notebook.cells if cell.get("outputs")]
    tagged = [c for c in notebook.cells if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
