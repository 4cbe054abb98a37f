"""Photos are split by one rule, and no photo is in two splits."""

import pandas as pd
import pytest
import yaml

from fieldmark.data.datasets import list_photos
from fieldmark.data.loaders import make_dataloaders
from fieldmark.data.splits import (
    check_no_leak,
    describe_training_photos,
    leave_out_species,
    list_test_splits,
    split_photos,
)
from fieldmark.errors import DatasetError
from tests.conftest import ROOT


def make_table(**counts) -> pd.DataFrame:
    """Return a table with so many training photos of each label."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    paths = [f"{label}/{number}.jpg" for number, label in enumerate(labels)]
    return pd.DataFrame({"path": paths, "label": labels, "split": "train"})


def test_each_species_is_in_every_split_by_its_share(folder):
    photos = split_photos(list_photos(folder), 0.2, 0.2, seed=1)
    assert photos["path"].is_unique
    counts = photos.groupby(["label", "split"]).size().unstack()
    assert set(counts.columns) == {"train", "valid", "calibration"}
    assert (counts[["valid", "calibration"]] == 2).all(axis=None)


@pytest.mark.parametrize("count", [5, 6, 7, 8, 30])
@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.05, 0.1), (0.1, 0.15)])
def test_even_a_small_species_is_in_every_split(count, shares):
    photos = split_photos(make_table(wren=5, owl=count), *shares)
    counts = photos.groupby(["label", "split"]).size().unstack(fill_value=0)
    assert counts.min().min() >= 1
    assert (counts["train"] > counts["calibration"]).all()


def test_a_seed_gives_the_same_split_in_every_version():
    splits = split_photos(make_table(wren=9, owl=7), 0.2, 0.2, seed=3)["split"]
    letters = splits.map({"train": "-", "valid": "v", "calibration": "c"})
    assert "".join(letters) == "-c--v-cv----cv--"


def test_the_shipped_split_follows_from_its_recipe():
    model = ROOT / "azure_function" / "model"
    shipped = pd.read_csv(model / "split.csv")
    recipe = yaml.safe_load((model / "recipe.yaml").read_text(encoding="utf-8"))
    valid, calibration = (
        recipe.get(new, recipe.get(old))
        for new, old in (("valid_share", "tune_share"), ("calibration_share", "calibrate_share"))
    )
    again = split_photos(shipped.assign(split="train"), valid, calibration, recipe["seed"])
    pd.testing.assert_series_equal(again["split"], shipped["split"])


def test_test_sets_stay_as_they_are():
    table = make_table(wren=20, owl=20)
    table.loc[::4, "split"] = "test"
    photos = split_photos(table, 0.2, 0.2)
    assert photos["split"].eq("test").equals(table["split"].eq("test"))
    assert photos["split"].value_counts()["valid"] == 6  # a fifth of the other 15, twice
    assert list_test_splits(photos) == ["test"]


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_in_one_split(seed):
    table = make_table(wren=30, owl=30)
    ungrouped = split_photos(table, 0.3, 0.3, seed)
    assert ungrouped["split"][5:15].nunique() > 1
    table["group"] = ["burst", "burst", *[None] * 57, "burst"]  # of both species
    table.loc[5:14, "group"] = "series"
    photos = split_photos(table, 0.3, 0.3, seed)
    assert (photos.groupby("group")["split"].nunique() == 1).all()
    assert set(photos["split"]) == {"train", "valid", "calibration"}


def test_a_species_of_one_group_only_is_refused():
    table = make_table(wren=8, owl=8)
    table["group"] = ["burst"] * 7 + [None] * 9
    with pytest.raises(DatasetError, match=r"near-duplicates.*wren"):
        split_photos(table)


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, 0), (0.5, 0.5)])
def test_shares_that_leave_a_split_empty_are_refused(shares):
    with pytest.raises(DatasetError, match=f"valid_share: {shares[0]}"):
        split_photos(make_table(wren=9, owl=9), *shares)


def test_test_photos_do_not_count_as_training_photos():
    table = make_table(wren=6, owl=9)
    table.loc[6:12, "split"] = "test"
    with pytest.raises(DatasetError, match=r"owl \(2\)"):
        split_photos(table)


def test_a_photo_in_two_splits_is_a_leak(table, folder, settings):
    photo = table[table["split"] == "train"].iloc[:1]
    leaky = pd.concat([table, photo.assign(split="valid")])
    check_no_leak(table)
    for check in (check_no_leak, lambda photos: make_dataloaders(photos, folder, **settings)):
        with pytest.raises(DatasetError, match=f"leak: `{photo['path'].item()}` is in"):
            check(leaky)


def test_near_duplicates_in_two_splits_are_a_leak():
    table = make_table(wren=5, owl=5)
    table["group"] = ["a", *[None] * 8, "a"]
    with pytest.raises(DatasetError, match=r"leak: `wren/0\.jpg` .* `owl/9\.jpg`"):
        split_photos(table.assign(split=table["split"].mask(table["label"] == "owl", "unseen")))


def test_species_left_out_are_in_no_other_split(folder, settings):
    photos = leave_out_species(list_photos(folder), 0.3, seed=1)
    assert photos.equals(leave_out_species(list_photos(folder), 0.3, seed=1))
    photos = split_photos(photos, 0.2, 0.2, seed=1)
    unseen = set(photos["label"][photos["split"] == "unseen"])
    known = set(photos["label"][photos["split"] != "unseen"])
    assert (len(unseen), len(known)) == (2, 4)
    assert not unseen & known
    assert set(make_dataloaders(photos, folder, **settings).vocab) == known


def test_leaving_out_nearly_all_species_is_refused():
    table = make_table(wren=5, owl=5, jay=5)
    assert leave_out_species(table, 0).equals(table)
    with pytest.raises(DatasetError, match="unseen_share"):
        leave_out_species(table, 0.6)


def test_training_photos_are_counted_for_the_card(table):
    count = (table["split"] == "train").sum()
    described = describe_training_photos(table, "drawn ones")
    assert described == f"{count} photos of 6 species: drawn ones"
