"""A finder learns to find drawn birds, and its run can be trained again."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fieldmark.errors import DatasetError, RunError
from fieldmark.finder.evaluation import LARGE, choose_threshold
from fieldmark.finder.finder_run import FinderRun
from fieldmark.finder.sources import list_birds
from fieldmark.finder.train import train_finder
from fieldmark.recipe import FinderRecipe

pytestmark = pytest.mark.slow
TINY = {"size": 96, "scenes": 16, "epochs": 2, "valid_scenes": 8, "batch_size": 8, "num_workers": 0}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_same_recipe_trains_the_same_network_and_another_seed_another(workspace):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_finder(FinderRecipe(**TINY, seed=seed), name)
    first, same, other = (load_file(FinderRun(name).last_file) for name in "abc")
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


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
