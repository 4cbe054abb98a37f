"""A recipe is checked before anything runs, and the notebook runs by it from end to end."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from birds.classifier import Classifier
from tests.conftest import ARCH, ROOT
from training import photos, recipe
from training.recipe import RecipeError


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def write(folder, **keys):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_in_the_repository_is_right(path):
    assert recipe.read(path)["arch"]


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
        ({"teacher": {"weights": "random"}}, "needs an `arch`"),
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
    with pytest.raises(RecipeError, match=r"quick\.yaml"):
        recipe.read(tmp_path / "none.yaml")


def train(path, **environment):
    """Run a recipe as `make train` does."""
    command = [sys.executable, "-m", "training.recipe", str(path)]
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
    files = {path.name for path in trained.iterdir()}
    assert files == {
        *("birds.onnx", "birds.safetensors", "split.csv", "gate.csv", "recipe.yaml", "train.ipynb"),
    }


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
    assert pictures >= 5  # two batches, lr_find, the losses, the top losses


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
