"""The schema of recipes, and the recipes in the repository, which train on drawn birds here."""

import ast
import importlib.util
import re
import shlex
from functools import partialmethod
from pathlib import Path
from typing import get_args

import nbformat
import numpy as np
import pytest
import timm
import torch
from fastai.vision.all import Learner
from safetensors.torch import load_file

from export.weights_dtype import WEIGHTS_DTYPES
from fieldmark.errors import RecipeError
from fieldmark.evaluation.ood import SCORES
from fieldmark.network.backbone import Backbone
from fieldmark.network.precision import PRECISIONS
from fieldmark.network.preparation import Preparation
from fieldmark.recipe import (
    RENAMED_KEYS,
    RENAMED_VALUES,
    FinderRecipe,
    Recipe,
    rename_keys,
    validate_recipe,
)
from fieldmark.training.fit import OPTIMIZERS
from fieldmark.training.schedules import SCHEDULES
from fieldmark.training.tracking.registry import TRACKERS
from tests import networks, trees  # noqa: F401
from tests.conftest import ROOT, SIZE
from tests.network.test_backbone import network, pretrained
from tests.training.conftest import changed_tensors, copy_state

FINDER_RECIPES = sorted((ROOT / "recipes").glob("finder*.yaml"))
RECIPES = sorted({*(ROOT / "recipes").glob("*.yaml")} - {*FINDER_RECIPES})
RECIPES.append(ROOT / "azure_function/model/recipe.yaml")
FAMILIES = ROOT / "recipes/families.yaml"
SYSTEMS = (ROOT / "docs/systems.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs/training.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"fieldmark train recipes/families\.yaml[^`\n]*", SYSTEMS)
every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "`epoch`.*epochs"),
        ({"learning_rate": "1e-3"}, "`learning_rate: 1e-3` must be a number.*0.001"),
        ({"epochs": 2.5}, "`epochs: 2.5` must be a whole number"),
        ({"epochs": True}, "`epochs: True` must be a whole number"),
        ({"photos": 3}, "`photos: 3` must be text"),
        ({"optimizer": "adam"}, "`optimizer: adam` must be 'adamw' or 'sgd'"),
        ({"dropout": 1.5}, "`dropout: 1.5` must be from 0 to 1"),
        ({"batch_size": 0}, "`batch_size: 0` must be from 1 to"),
        ({"track": "tensorboard"}, r"`track: tensorboard` must be a list"),
        ({"track": ["tensorbord"]}, r"`track: tensorbord` must be 'tensorboard'"),
        ({"mixup": 0.4, "cutmix": 1.0}, "`mixup` and `cutmix`"),
        ({"epochs": 0, "frozen_epochs": 0}, "`frozen_epochs` and `epochs`"),
        ({"arch": "test_vit", "train_size": 96}, "`test_vit` takes photos of one size"),
        ({"arch": "eficientnet_b0"}, "`eficientnet_b0`.*efficientnet_b0"),
        ({"arch_options": {"dropout": 0.3}}, "`arch_options` cannot hold `dropout`"),
        ({"arch_options": {"mean": [0.5]}}, "`arch_options`: `mean: .* must be three numbers"),
        ({"teacher": {"weights": "random"}}, "`teacher`: `arch` is missing"),
        ({"teacher": {"arch": "mobilenet_v2"}}, "`mobilenet_v2`.*mobilenetv2"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_wrong_value_is_reported_with_its_key_and_what_is_expected(values, message):
    with pytest.raises(RecipeError, match=message) as caught:
        validate_recipe(values)
    assert "\n" not in str(caught.value)


def test_every_old_key_is_refused_with_its_new_name():
    for old, new in RENAMED_KEYS.items():
        with pytest.raises(RecipeError, match=f"`{old}: .*`{new}: "):
            validate_recipe({old: Recipe.model_fields[new].default})


def test_every_old_value_is_refused_with_its_new_spelling():
    for key, values in RENAMED_VALUES.items():
        for old, new in values.items():
            written = str(old).lower() if isinstance(old, bool) else old
            with pytest.raises(RecipeError, match=f"`{key}: {written}` to `{key}: {new}`"):
                validate_recipe({key: old})
    with pytest.raises(RecipeError, match="`crop_to_box: true` to `crop: boxes`"):
        validate_recipe({"crop_to_box": True})
    with pytest.raises(RecipeError, match="`classes` to `num_classes`"):
        validate_recipe({"teacher": {"arch": "resnet18", "classes": 3}})


def test_an_old_recipe_is_valid_after_its_names_are_replaced():
    old = {"rate": 0.1, "unknown": "neighbours", "schedule": "one cycle", "out": "runs/notebook"}
    old |= {"track": ["csv", "clearml"], "teacher": {"arch": "resnet18", "probe_share": 0.5}}
    recipe = validate_recipe(rename_keys(old))
    assert (recipe.learning_rate, recipe.ood_score, recipe.schedule) == (0.1, "knn", "one_cycle")
    assert recipe.track == ["clearml"]
    assert recipe.teacher["probe_weight"] == 0.5


def test_command_line_values_replace_those_of_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3\nseed: 1\n")
    recipe = Recipe.load(path, {"epochs": "5", "learning_rate": "1", "arch_options": "{a: b}"})
    assert (recipe.epochs, recipe.seed, recipe.learning_rate) == (5, 1, 1.0)
    assert recipe.arch_options == {"a": "b"}


@pytest.mark.parametrize("text", ["photos: [drawn", "- drawn"])
def test_a_file_that_is_not_a_recipe_is_reported_with_its_path(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"mine\.yaml"):
        Recipe.load(path)


def test_a_missing_recipe_is_reported_with_those_there_are(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(RecipeError, match=r"none\.yaml.*quick\.yaml"):
        Recipe.load(Path("none.yaml"))


def test_a_tracker_that_is_not_installed_is_reported_with_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"clearml.*pip install"):
        validate_recipe({"track": ["clearml"]})


def test_the_choices_of_the_schema_are_those_of_the_code():
    choices = {key: get_args(field.annotation) for key, field in Recipe.model_fields.items()}
    assert set(get_args(choices["track"][0])) == set(TRACKERS)
    assert set(choices["optimizer"]) == set(OPTIMIZERS)
    assert set(choices["schedule"]) == set(SCHEDULES)
    assert set(choices["precision"]) == set(PRECISIONS)
    assert set(choices["ood_score"]) == {"auto", *SCORES}
    assert set(choices["weights_dtype"]) == set(WEIGHTS_DTYPES)


def parameters_cell() -> str:
    cells = nbformat.read(ROOT / "train.ipynb", 4).cells
    (cell,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    return cell.source


def test_the_parameters_cell_of_the_notebook_is_the_schema():
    lines = [node for node in ast.parse(parameters_cell()).body if isinstance(node, ast.AnnAssign)]
    cell = {ast.unparse(line.target): ast.literal_eval(line.value) for line in lines}
    assert list(cell.items()) == [(k, field.default) for k, field in Recipe.model_fields.items()]
    comments = [line.split("  # ")[1] for line in parameters_cell().splitlines() if "  # " in line]
    assert comments == [field.description for field in Recipe.model_fields.values()]


def test_the_committed_notebook_has_no_outputs():
    assert not [c for c in nbformat.read(ROOT / "train.ipynb", 4).cells if c.get("outputs")]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("epochs: int = 10", "epochs: int = 'ten'"), "`epochs: ten` must be a whole number"),
        (("epochs: int = 10", "epoch: int = 10"), "`epochs`"),
        (("seed: int = 0", "seed: int = 0\nsede: int = 1"), "`sede`.*seed"),
        (("seed: int = 0", "seed: int = 0\nrate: float = 0.1"), "`rate: 0.1`.*`learning_rate"),
    ],
)
def test_a_wrong_line_of_the_parameters_cell_is_reported(edit, message):
    variables = {}
    exec(parameters_cell(), variables)  # noqa: S102
    assert Recipe.from_variables(variables) == Recipe()
    exec(parameters_cell().replace(*edit), variables := {})  # noqa: S102
    with pytest.raises(RecipeError, match=message):
        Recipe.from_variables(variables)


def test_training_keys_leave_out_what_needs_no_training():
    keys = Recipe().training_keys().keys()
    assert {"photos", "arch", "learning_rate"} <= keys
    assert not {"coverage", "ood_score", "weights_dtype", "track", "out"} & keys


def test_the_table_in_the_docs_is_that_of_the_schema():
    table = re.search(r"<!-- parameters.*?-->\n\n(.*?)\n\n", TRAINING, re.DOTALL)[1]
    assert table == Recipe.markdown_table()


def test_a_template_is_a_valid_recipe_of_all_defaults(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(Recipe.template())
    assert Recipe.load(path) == Recipe()
    assert all(f"\n{key}: " in f"\n{path.read_text()}" for key in Recipe().model_dump())


@every_recipe
def test_a_recipe_is_valid_and_states_the_licence_of_its_weights(path):
    recipe = Recipe.load(path)
    config = timm.get_pretrained_cfg(recipe.arch)
    assert recipe.licence
    assert recipe.weights == "random" or config.has_weights
    assert recipe.weights == "random" or config.license.upper() in recipe.licence.upper()


@pytest.mark.parametrize("path", FINDER_RECIPES, ids=lambda path: path.stem)
def test_a_recipe_of_a_finder_is_valid_and_states_its_licence(path):
    recipe = FinderRecipe.load(path)
    assert recipe.licence
    assert recipe.name


def parse_command(command: str) -> Recipe:
    """Return the recipe that a `fieldmark train` command of the docs means."""
    words = shlex.split(command)
    pairs = [words[n + 1].split("=", 1) for n, word in enumerate(words) if word == "--set"]
    return Recipe.load(ROOT / words[2], dict(pairs))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda text: text.split("arch=")[-1][:30])
def test_the_docs_have_a_command_and_the_size_of_every_family(command):
    recipe = parse_command(command)
    with torch.device("meta"):
        model = timm.create_model(recipe.arch, num_classes=0)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    row = next(line for line in SYSTEMS.splitlines() if f"`{command}`" in line)
    assert f"| {millions:.1f} | {Preparation.for_arch(recipe.arch).size} |" in row
    assert timm.get_pretrained_cfg(recipe.arch).license.upper() in recipe.licence.upper()


def test_families_differ_in_nothing_but_their_network_and_what_suits_it():
    recipes = [parse_command(command) for command in COMMANDS]
    assert len(recipes) == 10
    assert {recipe.batch_size * recipe.accumulation_steps for recipe in recipes} == {32}
    dumps = [recipe.model_dump() for recipe in recipes]
    different = {key for key in dumps[0] if len({repr(dump[key]) for dump in dumps}) > 1}
    assert different == {
        *("arch", "batch_size", "accumulation_steps", "learning_rate", "layer_decay")
    }


@pytest.mark.parametrize("arch", ["resnet18.a1_in1k", "efficientnet_b0.ra_in1k"])
def test_the_network_of_a_family_has_a_feature_map(arch):
    size = Preparation.for_arch(arch).size
    body = Backbone(network(arch, size), size)
    assert body.map_size == {"height": -(-size // 32), "width": -(-size // 32)}


SHORT = {  # a recipe of each way to train -> a small network of its family, and a data set
    "birds555": ("test_efficientnet", SIZE, trees.make_nabirds),
    "cub200": ("little_swin", SIZE, trees.make_cub),
    "cub100-quickest": ("test_efficientnet", SIZE, trees.make_birds_400),
}


def shorten(recipe: Recipe, arch: str, size: int, photos: Path, folder: Path) -> dict:
    """Return a recipe's values with a small network, few drawn photos and one or two epochs."""
    full = Preparation.for_arch(recipe.arch, recipe.size).size
    return recipe.model_dump() | {
        **{"photos": str(photos), "arch": arch, "size": size, "out": str(folder / "run")},
        "weights": str(pretrained(arch, size, folder / "weights.safetensors")),
        "train_size": round(recipe.train_size * size / full),
        "batch_size": 8,
        "frozen_epochs": min(recipe.frozen_epochs, 1),
        "epochs": min(recipe.epochs, 2),
    }


def run_cells(variables: dict, first: str, last: str) -> None:
    """Run the cells of train.ipynb between two headings; `first` may be empty."""
    running = not first
    for cell in nbformat.read(ROOT / "train.ipynb", 4).cells:
        running = running or cell.source.startswith(f"## {first}")
        if cell.source.startswith(f"## {last}"):
            return
        if (
            running
            and cell.cell_type == "code"
            and "parameters" not in cell.metadata.get("tags", [])
        ):
            exec(cell.source.replace("%matplotlib inline", ""), variables)  # noqa: S102


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:numpy.core is deprecated")  # in a file that lr_find saves
@pytest.mark.parametrize("name", SHORT)
def test_a_recipe_trains_a_small_network_of_its_family(name, tmp_path, monkeypatch):
    arch, size, tree = SHORT[name]
    values = shorten(
        Recipe.load(ROOT / f"recipes/{name}.yaml"), arch, size, tree(tmp_path / "photos"), tmp_path
    )
    monkeypatch.chdir(tmp_path)
    few = partialmethod(Learner.lr_find, num_it=20, show_plot=False)
    monkeypatch.setattr(Learner, "lr_find", few)
    variables = values | {"display": print}
    run_cells(variables, "", "Fine-tuning")
    backbone = variables["learn"].model[0]
    kept = Backbone(network(arch, size), size)
    kept.model.load_state_dict(load_file(values["weights"]))
    assert changed_tensors(copy_state(kept), backbone) == []  # the frozen phase leaves it as it was
    before = copy_state(backbone)
    run_cells(variables, "Fine-tuning", "Accuracy")
    assert np.isfinite(variables["history"][["train_loss", "valid_loss"]]).all(axis=None)
    trained = {key for key, _ in backbone.named_parameters()} & set(
        changed_tensors(before, backbone)
    )
    frozen = [parameter for parameter in backbone.parameters() if not parameter.requires_grad]
    assert trained
    assert bool(frozen) == bool(values["frozen_layer_groups"])
