"""What judges the model is carved out of what may teach it, by the same rule every time."""

import pandas as pd
import pytest
import yaml

from fieldmark.data import datasets as sources
from fieldmark.data import loaders as data
from fieldmark.data import splits as parts
from fieldmark.data.locations import PhotosError
from tests.conftest import ROOT


def listed(**counts) -> pd.DataFrame:
    """Make a table of so many photos of each label."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    paths = [f"{label}/{number}.jpg" for number, label in enumerate(labels)]
    return pd.DataFrame({"path": paths, "label": labels, "split": "train"})


def test_each_photo_is_in_one_part_and_each_species_in_all(folder):
    table = parts.split(sources.table(folder), 0.2, 0.2, seed=1)
    assert table["path"].is_unique
    counts = table.groupby(["label", "split"]).size().unstack()
    assert set(counts.columns) == {"train", "valid", "calibration"}
    assert (counts["valid"] == 2).all()
    assert (counts["calibration"] == 2).all()


@pytest.mark.parametrize("count", [5, 6, 7, 8, 30])
@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.05, 0.1), (0.1, 0.15)])
def test_even_a_small_species_is_in_every_part(count, shares):
    table = parts.split(listed(wren=5, owl=count), *shares)
    counts = table.groupby(["label", "split"]).size().unstack(fill_value=0)
    assert counts.min().min() >= 1
    assert (counts["train"] > counts["calibration"]).all()


def test_a_split_of_today_is_a_split_of_tomorrow():
    found = parts.split(listed(wren=9, owl=7), 0.2, 0.2, seed=3)["split"]
    short = found.map({"train": "-", "valid": "t", "calibration": "c"})
    assert "".join(short) == "-c--t-ct----ct--"


def test_the_shipped_split_is_what_its_recipe_gives():
    model = ROOT / "azure_function" / "model"
    shipped = pd.read_csv(model / "split.csv")
    recipe = yaml.safe_load((model / "recipe.yaml").read_text(encoding="utf-8"))
    shares = (recipe[key] for key in ("tune_share", "calibrate_share", "seed"))
    again = parts.split(shipped.assign(split="train"), *shares)
    pd.testing.assert_series_equal(again["split"], shipped["split"])


def test_the_same_seed_gives_the_same_split_and_another_does_not(folder):
    found = sources.table(folder)
    first = parts.split(found, 0.2, 0.2, seed=1)
    assert first.equals(parts.split(found, 0.2, 0.2, seed=1))
    assert not first["split"].equals(parts.split(found, 0.2, 0.2, seed=2)["split"])


def test_official_splits_stay_as_they_are():
    table = listed(wren=20, owl=20)
    table.loc[::4, "split"] = "test"
    found = parts.split(table, 0.2, 0.2)
    assert found["split"].eq("test").equals(table["split"].eq("test"))
    assert found["split"].value_counts()["valid"] == 6  # a fifth of the other 15, twice


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_in_one_part(seed):
    table = listed(wren=30, owl=30)
    table["group"] = ["burst", "burst", *[None] * 57, "burst"]  # of both species
    table.loc[5:14, "group"] = "series"
    found = parts.split(table, 0.3, 0.3, seed)
    assert (found.groupby("group")["split"].nunique() == 1).all()
    assert set(found["split"]) == {"train", "valid", "calibration"}


def test_without_groups_some_photos_of_these_would_part():
    """The test above can fail: an undivided seed among five would be luck."""
    found = [parts.split(listed(wren=30, owl=30), 0.3, 0.3, seed) for seed in range(5)]
    assert any(table["split"][5:15].nunique() > 1 for table in found)


def test_a_species_seen_in_one_burst_only_is_refused():
    table = listed(wren=8, owl=8)
    table["group"] = ["burst"] * 7 + [None] * 9
    with pytest.raises(PhotosError, match=r"belong together.*wren"):
        parts.split(table)


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, 0), (0.5, 0.5)])
def test_shares_that_leave_a_part_empty_are_refused(shares):
    with pytest.raises(PhotosError, match="none for train"):
        parts.split(listed(wren=9, owl=9), *shares)


def test_a_species_with_too_few_photos_is_named():
    with pytest.raises(PhotosError, match=r"owl \(2\)"):
        parts.split(listed(wren=6, owl=2))


def test_photos_to_judge_by_do_not_make_up_for_photos_to_teach_with():
    table = listed(wren=6, owl=9)
    table.loc[6:12, "split"] = "test"
    with pytest.raises(PhotosError, match=r"owl \(2\)"):
        parts.split(table)


def test_what_taught_the_model_is_counted(table):
    count = (table["split"] == "train").sum()
    assert parts.described(table, "drawn ones") == f"{count} photos of 6 species: drawn ones"


def test_species_left_out_are_unseen_by_what_teaches_and_judges(folder, settings):
    table = parts.split(parts.leave_out(sources.table(folder), 0.3, seed=1), 0.2, 0.2, seed=1)
    unseen = set(table["label"][table["split"] == "unseen"])
    known = set(table["label"][table["split"] != "unseen"])
    assert (len(unseen), len(known)) == (2, 4)
    assert not unseen & known
    dls = data.dataloaders(table, folder, **settings, batch_size=8)
    assert set(dls.vocab) == known
    again = parts.leave_out(sources.table(folder), 0.3, seed=1)
    assert set(again["label"][again["split"] == "unseen"]) == unseen


def test_no_species_is_left_out_unless_it_is_meant(folder):
    table = sources.table(folder)
    assert parts.leave_out(table, 0).equals(table)


def test_leaving_out_nearly_all_species_is_refused():
    with pytest.raises(PhotosError, match="unseen_share"):
        parts.leave_out(listed(wren=5, owl=5, jay=5), 0.6)
