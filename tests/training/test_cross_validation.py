"""Recipes are compared on folds of `train`, by photos as they are and as a finder crops them."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from birds.crops import overlap
from fieldmark.data.locations import draw_objects
from fieldmark.errors import DatasetError, RunError, WeightsError
from fieldmark.finder.grounds import split_grounds
from fieldmark.network.weights import check_previous_splits
from fieldmark.recipe import Recipe
from fieldmark.training import cross_validation
from fieldmark.training.cross_validation import HELD_OUT, split_folds
from fieldmark.training.fold_predictions import compare_views
from fieldmark.training.grounds import held_out_grounds
from fieldmark.training.pasted_crops import SHARES, PastedCrops, disturb
from tests.command_line import run_command
from tests.conftest import ARCH


def test_folds_leave_out_each_training_photo_once_and_nothing_else(table):
    group = table["path"].where(~table["path"].isin(table["path"][:2]), "near-duplicates")
    table = table.assign(group=group, split=table["split"].mask(table.index < 2, "train"))
    left_out = []
    for _, fold, rows in split_folds(table, 3, seed=0):
        counts = fold[fold["split"] == HELD_OUT].groupby("label").size()
        assert (counts >= 2).all()
        assert len(counts) == table["label"].nunique()
        assert fold.groupby("group")["split"].nunique().max() == 1
        assert set(fold["split"]) == {"train", "valid", HELD_OUT}
        train = table[table["split"] == "train"].iloc[rows]
        assert train["path"].tolist() == fold["path"][fold["split"] == "train"].tolist()
        left_out += fold["path"][fold["split"] == HELD_OUT].tolist()
    assert sorted(left_out) == sorted(table["path"][table["split"] == "train"])


def test_a_class_that_a_fold_would_lose_is_named(table):
    labels = table["label"].mask(table["path"] == table["path"][table["split"] == "train"].iloc[0])
    with pytest.raises(DatasetError, match="Rare Inkling has too few photos"):
        list(split_folds(table.assign(label=labels.fillna("Rare Inkling")), 3, seed=0))


def test_weights_that_have_learned_the_photos_are_refused(table):
    previous = table.set_index("path")["split"]
    fold = next(split_folds(table, 3, seed=0))
    with pytest.raises(WeightsError, match="Train/test leak"):
        check_previous_splits(previous, fold.table)


@pytest.fixture(scope="module")
def grounds(tmp_path_factory):
    folder = draw_objects(tmp_path_factory.mktemp("objects"))
    return split_grounds(sorted(folder.glob("*.jpg")))[1]


def test_pasted_crops_are_the_same_each_time_and_show_the_bird_nearly_whole(table, folder, grounds):
    photos = table.head(6)
    pasted = PastedCrops(photos, folder, grounds)
    assert len(pasted) == len(pasted.table) == len(list(pasted)) == 6 * len(SHARES)
    again = PastedCrops(photos, folder, grounds)
    assert all(pasted[path] == again[path] for path in pasted)
    assert set(pasted.table["edge"]) == {"hard", "feathered", "ellipse"}
    sides = {}
    for row in pasted.table.itertuples():
        with Image.open(io.BytesIO(pasted[row.path])) as crop:
            assert crop.width == crop.height
            sides.setdefault(row.share, []).append(crop.width)
    assert np.mean(sides[0.5]) > 1.6 * np.mean(sides[0.25])


def test_errors_of_a_finder_are_small_and_have_no_direction():
    rng = np.random.default_rng(0)
    boxes = np.array([disturb(rng, (100, 60, 80, 40)) for _ in range(500)])
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    assert centres.mean(0) == pytest.approx([140, 80], abs=1.5)
    assert np.log(boxes[:, 2] / 80).std() == pytest.approx(0.2, abs=0.03)
    assert boxes[:, 2] / boxes[:, 3] == pytest.approx(np.full(500, 2))
    assert np.mean([overlap(box, (100, 60, 80, 40)) > 0.5 for box in boxes]) > 0.75


def test_a_recipe_is_cross_validated_and_compared_with_another(recipe_file, tmp_path, monkeypatch):
    options = ("--folds", "2")
    result = run_command("cross-validate", recipe_file, "--name", "first", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    out = tmp_path / "runs" / "cross-validation" / "first"
    predictions = pd.read_csv(out / "predictions.csv", keep_default_na=False)
    counts = predictions.groupby("view").size()
    assert set(counts) == {predictions["path"].nunique()} == {48}
    assert len(counts) == 1 + len(SHARES)
    assert {"as they are", "25% of the side", "edge, ellipse"} <= {
        line.rsplit(maxsplit=4)[0] for line in result.stdout.splitlines() if line
    }
    assert not list(out.glob("fold-*/"))
    monkeypatch.setattr(cross_validation, "fit_recipe", None)  # the folds are done
    again = run_command("cross-validate", recipe_file, "--name", "first", *options)
    assert again.exit_code == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    arguments = ("--name", "other", "--set", "shrink_share=0.9", "--against", "first")
    result = run_command("cross-validate", recipe_file, *arguments, *options)
    assert result.exit_code == 0
    assert "Points better than first" in result.stdout


def test_points_are_of_the_same_photos():
    rows = [(f"{n}.jpg", "a", "a" if n < 6 else "b", "as they are") for n in range(10)]
    columns = ["path", "label", "predicted", "view"]
    better = pd.DataFrame(rows, columns=columns)
    worse = better.assign(predicted=["b", "b", *better["predicted"][2:9], "a"])
    compared = compare_views(better, worse)
    assert compared.loc["as they are", "points"] == 10
    assert compared.loc["as they are", "low"] < 10 < compared.loc["as they are", "high"]
    assert compared.loc["as they are", "p"] == 1
    with pytest.raises(RunError, match="different photos"):
        compare_views(better, worse.head(9))


def test_a_crop_is_evaluated_on_grounds_that_no_training_uses():
    held_out = held_out_grounds("drawn")
    assert 20 < len(held_out) < 40
    assert held_out_grounds("") == held_out


def test_a_missing_result_is_reported(recipe_file):
    result = run_command("cross-validate", recipe_file, "--against", "none")
    assert result.exit_code == 2
    assert "none" in result.stderr
    assert Recipe.load(recipe_file).arch == ARCH
