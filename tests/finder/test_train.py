"""A finder learns to find drawn birds, and its run can be trained again."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fieldmark.errors import DatasetError, RecipeError, RunError, WeightsError
from fieldmark.finder.dataset import VALID, SceneDataset
from fieldmark.finder.evaluation import LARGE, choose_threshold, compute_metrics, detect
from fieldmark.finder.finder_run import FinderRun, create_detector, save_weights
from fieldmark.finder.sources import list_birds, load_sources
from fieldmark.finder.train import train_finder
from fieldmark.recipe import FinderRecipe

pytestmark = pytest.mark.slow
TINY = {"size": 96, "scenes": 16, "epochs": 2, "valid_scenes": 8, "batch_size": 8, "num_workers": 0}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_finder_finds_drawn_birds_on_drawn_grounds(finder_folder, workspace):
    run = FinderRun(finder_folder)
    valid = load_sources(run.recipe, run.read_boxes(), VALID)
    dataset = SceneDataset(valid, run.recipe.size, 8, seed=1, part=VALID)
    detections = detect(run.load_best(), dataset, range(150))
    threshold = choose_threshold(detections.birds, run.recipe.found_share)
    metrics = compute_metrics(detections, threshold)
    assert metrics["found_large"]["value"] >= 0.9
    assert metrics["first_box"]["value"] >= 0.7
    assert metrics["mean_iou"]["value"] >= 0.6


def test_the_kept_epoch_is_the_one_with_the_highest_overlap(finder_folder):
    history = pd.read_csv(FinderRun(finder_folder).history_file)
    assert history.loc[history["kept"], "mean_iou"].item() == history["mean_iou"].max()
    assert np.isfinite(history["train_loss"]).all()


def test_the_same_recipe_trains_the_same_network_and_another_seed_another(workspace):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_finder(FinderRecipe(**TINY, seed=seed), name)
    first, same, other = (load_file(FinderRun(name).last_file) for name in "abc")
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_starts_from_the_weights_of_another_finder(finder_folder, workspace):
    detector = FinderRun(finder_folder).load_best()
    recipe = FinderRecipe()
    card = {"kind": "finder", "recipe": recipe.model_dump()}
    save_weights(detector, workspace / "start.safetensors", "fp32", card)
    start = create_detector(FinderRecipe(weights="start.safetensors"))
    assert torch.equal(start.output.weight, detector.output.weight)
    with pytest.raises(WeightsError, match="a finder of arch `test_efficientnet` and width 32"):
        create_detector(FinderRecipe(weights="start.safetensors", width=16))


def test_the_split_of_a_species_model_decides_which_birds_train(workspace):
    assert [len(birds) for birds in list_birds("drawn")] == [192, 48]
    folder = workspace / "runs/drawn-birds"
    paths = [f.relative_to(folder).as_posix() for f in sorted(folder.rglob("*.jpg"))]
    parts = ["train", "valid", "calibration", "train"] * (len(paths) // 4)
    split = pd.DataFrame({"path": paths, "label": "bird", "split": parts})
    split.to_csv("split.csv", index=False)
    assert [len(birds) for birds in list_birds("drawn", "split.csv")] == [120, 60]
    with pytest.raises(DatasetError, match=r"no file none\.csv"):
        list_birds("drawn", "none.csv")


def test_a_threshold_finds_the_share_of_large_birds_that_is_asked_for():
    shares = np.repeat([LARGE, LARGE / 2], 100)
    scores = np.tile(np.arange(100) / 100, 2)
    birds = pd.DataFrame({"share": shares, "score": scores})
    assert choose_threshold(birds, 0.8) == 0.2
    assert choose_threshold(birds, 0.999) == 0.05  # the least score of any box
    assert choose_threshold(birds.assign(score=0.9), 0.95) == 0.5


def test_a_folder_that_is_no_run_is_reported(workspace):
    with pytest.raises(RunError, match="not a finder's run"):
        _ = FinderRun("nothing").recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"whole_photos": "birds"}, "`whole_photos` needs `boxes` or a `teacher`"),
        ({"boxes": "boxes.csv"}, "`boxes` needs `whole_photos`"),
        ({"arch": "mobilenet"}, "`mobilenet`"),
        ({"found_share": 1.0}, "`found_share: 1.0` must be from 0.5 to 0.999"),
    ],
)
def test_a_wrong_recipe_is_reported(values, message):
    with pytest.raises(RecipeError, match=message):
        FinderRecipe.parse(values)
