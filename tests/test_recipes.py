"""Every recipe in the repository is right, and learns from drawn birds by its own settings."""

import re
import sys
from functools import partialmethod

import nbformat
import numpy as np
import pytest
import timm
import torch
from fastai.vision.all import Learner
from safetensors.torch import load_file

from fieldmark import plotting as plots
from fieldmark import recipe
from fieldmark.data import loaders as data
from fieldmark.data import locations as photos
from fieldmark.data.ood_photos import KEYS
from fieldmark.network.backbone import Backbone
from tests import networks, trees  # noqa: F401
from tests.conftest import ARCH, ROOT, SIZE
from tests.network.test_backbone import network, pretrained
from tests.training.test_learner import moved, snapshot

RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
FAMILIES = sorted((ROOT / "recipes/families").glob("*.yaml"))
SMALL = {  # a small network of each family, and the photos that it gets
    "efficientnet": ("test_efficientnet", SIZE),
    "mobilenetv2": (ARCH, SIZE),
    "resnext": ("little_resnext", SIZE),
    "resnet": ("test_resnet", SIZE),
    "inception_v4": ("little_inception_v4", 107),
    "pnasnet": ("little_pnasnet", SIZE),
    "vit": ("test_vit", SIZE),
    "swin": ("little_swin", SIZE),
}
LAYOUTS = {  # of the data sets that recipes name; others are a folder a species
    "photos/birds400": trees.birds_400,
    photos.CUB: trees.cub,
    "photos/nabirds": trees.nabirds,
}
every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@every_recipe
def test_every_recipe_in_the_repository_is_right(path):
    config = timm.get_pretrained_cfg(recipe.read(path)["arch"])
    assert config.has_weights or recipe.read(path)["weights"] == "random"


def test_no_two_recipes_run_into_the_same_folder():
    assert len({path.stem for path in RECIPES}) == len(RECIPES)


@every_recipe
def test_photos_that_are_not_there_are_told_in_a_sentence_with_exit_status_2(
    path, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "argv", ["fieldmark.recipe", str(path)])
    assert recipe.main() == 2
    assert re.fullmatch(r"There is no folder .*/none\. .*\n", capsys.readouterr().err)


@pytest.fixture(scope="module")
def place(tmp_path_factory, folder):
    """Return a function that gives a folder of drawn birds, laid out as a recipe's photos are."""
    made = {}

    def find(named: str):
        if named not in LAYOUTS:
            return folder
        if named not in made:
            made[named] = LAYOUTS[named](tmp_path_factory.mktemp("photos"))
        return made[named]

    return find


def shortened(settings: dict, place, folder) -> dict:
    """Return a recipe with small networks, few drawn photos, few epochs, and else as it is.

    What it promises of unknown birds teaches nothing, and needs photos and runs of an owner's.
    """
    arch, size = next(SMALL[part] for part in SMALL if part in settings["arch"])
    full = data.settings(settings["arch"], settings["size"])["size"]
    short = {
        "photos": str(place(settings["photos"])),
        "arch": arch,
        "size": size,
        "train_size": round(settings["train_size"] * size / full),
        "batch_size": min(settings["batch_size"], 8),
        "frozen_epochs": min(settings["frozen_epochs"], 1),
        "epochs": min(settings["epochs"], 2),
        "out": str(folder / "run"),
    }
    if settings["weights"] != "random":
        short["weights"] = str(pretrained(arch, size, folder / "weights.safetensors"))
    if settings["teacher"]:
        short["teacher"] = settings["teacher"] | {"weights": "random", "run": ""}
    if settings["head_from"] == "weights":  # which test_recipe goes on from
        short["head_from"] = "probe"
    return settings | short | {key: recipe.defaults()[key] for key in KEYS}


class Notebook:
    """The cells of train.ipynb, run one after the other with some parameters."""

    def __init__(self, parameters: dict):
        self.cells = iter(nbformat.read(ROOT / "train.ipynb", 4).cells)
        self.names = parameters | {"display": print}

    def run_to(self, heading: str) -> dict:
        """Run the cells before a heading that have not run yet; return all variables."""
        for cell in self.cells:
            if cell.source.startswith(f"## {heading}"):
                return self.names
            if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
                exec(cell.source.replace("%matplotlib inline", ""), self.names)  # noqa: S102
        raise AssertionError(f"train.ipynb has no heading {heading}.")


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated")  # by what lr_find puts aside
@every_recipe
def test_a_recipe_learns_from_drawn_birds_by_its_own_settings(path, place, tmp_path, monkeypatch):
    settings = recipe.read(path)
    (tmp_path / "train.ipynb").symlink_to(ROOT / "train.ipynb")
    short = shortened(settings, place, tmp_path)
    monkeypatch.chdir(tmp_path)  # a cache of photos lies there, and no photos of an owner's
    monkeypatch.setattr(plots, "save", lambda figure, *_: figure)
    few = partialmethod(Learner.lr_find, num_it=20, show_plot=False)
    monkeypatch.setattr(Learner, "lr_find", few)
    notebook = Notebook(short)
    names = notebook.run_to("Fine-tuning")
    body = names["learn"].model[0]
    assert names["learn"].dls.bs == short["batch_size"]
    before = snapshot(body)
    if short["weights"] != "random":
        kept = Backbone(network(short["arch"], short["size"]), short["size"])
        kept.model.load_state_dict(load_file(short["weights"]))
        assert moved(snapshot(kept), body) == []
    fits = notebook.run_to("How good is it?")["fits"]
    stages = {"frozen": short["frozen_epochs"], "fine-tuning": short["epochs"]}
    assert {stage: each.done for stage, each in fits.items()} == {
        stage: epochs for stage, epochs in stages.items() if epochs
    }
    assert np.isfinite(names["history"][["train_loss", "valid_loss"]]).all(axis=None)
    learned = {name for name, _ in body.named_parameters()} & set(moved(before, body))
    still = len([p for p in body.parameters() if not p.requires_grad])
    assert learned
    assert bool(still) == bool(settings["frozen_stages"])


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_recipe_of_a_family_and_the_docs_say_how_large_its_network_is(path):
    arch = recipe.read(path)["arch"]
    with torch.device("meta"):
        model = timm.create_model(arch, num_classes=0)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert f" {millions:.1f} million parameters" in path.read_text(encoding="utf-8")
    row = f"| `{path.stem}` | {millions:.1f} | {data.settings(arch)['size']} |"
    assert row in (ROOT / "docs/systems.md").read_text(encoding="utf-8")


def test_recipes_of_families_can_be_compared():
    read = [recipe.read(path) for path in FAMILIES]
    assert {each["batch_size"] * each["accumulate"] for each in read} == {32}
    apart = {key for key in read[0] if len({repr(each[key]) for each in read}) > 1}
    assert apart == {"arch", "licence", "batch_size", "accumulate", "rate", "decay"}


@every_recipe
def test_a_recipe_states_the_licence_of_the_weights_that_it_starts_from(path):
    settings = recipe.read(path)
    known = timm.get_pretrained_cfg(settings["arch"]).license
    assert settings["licence"]
    assert known.upper() in settings["licence"].upper() or settings["weights"] == "random"


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "efficientnet_b3"])
def test_the_true_network_of_a_family_becomes_a_body_with_a_map(name):
    settings = recipe.read(ROOT / f"recipes/families/{name}.yaml")
    size = data.settings(settings["arch"], settings["size"])["size"]
    body = Backbone(network(settings["arch"], size), size)
    assert body.map_size == {"height": -(-size // 32), "width": -(-size // 32)}
