"""A run may begin where an earlier one ended."""

import pandas as pd
import pytest
import torch

from fieldmark.data import loaders as data
from fieldmark.data.splits import split
from fieldmark.network import weights as earlier
from fieldmark.network.restore import restored
from fieldmark.run import read_weights_card
from fieldmark.training.learner import WeightsError, learner, weights_facts, weights_file
from tests.conftest import ARCH

pytestmark = pytest.mark.usefixtures("at_hand")


@pytest.fixture
def at_hand(folder, monkeypatch):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))


@pytest.fixture
def dls(table, folder, settings):
    return data.dataloaders(table, folder, **settings, batch_size=8)


def test_body_and_head_go_on_from_a_run(dls, run):
    file = run / "birds.safetensors"
    learn = learner(dls, ARCH, str(file))
    earlier.head(learn.model[1], file, dls.vocab)
    expected, _, _, card = restored(run)
    for name, tensor in expected.model.state_dict().items():
        assert torch.equal(learn.model.state_dict()[name], tensor), name
    assert not any(
        parameter.requires_grad for parameter in learn.model[0].model.blocks.parameters()
    )
    facts = weights_facts(str(file))
    assert facts["run"]["version"] == card["version"]
    assert facts["run"]["name"] == "tiny"


def test_a_new_head_is_drawn_unless_the_old_one_is_asked_for(dls, run):
    learn = learner(dls, ARCH, str(run / "birds.safetensors"))
    old = earlier.part(run / "birds.safetensors", earlier.HEAD)
    assert not torch.equal(learn.model[1][-1].weight, old["4.weight"])


def test_photos_keep_the_parts_that_they_had(table, run):
    known = earlier.parts(run / "birds.safetensors")
    assert known.to_dict() == table.set_index("path")["split"].to_dict()
    again = split(table.assign(split="train"), 0.2, 0.2, seed=7, known=known)
    pd.testing.assert_series_equal(again["split"], table["split"])
    swap = {"train": "calibration", "calibration": "train", "valid": "valid"}
    earlier.check_apart(known, again)
    earlier.check_apart(None, again)
    with pytest.raises(WeightsError, match=r"learned from \d+ photos that judge here"):
        earlier.check_apart(known, table.assign(split=table["split"].map(swap)))
    tuned = table["split"].replace("valid", "calibration")
    with pytest.raises(WeightsError, match=r"learned from \d+ photos that judge here"):
        earlier.check_apart(known, table.assign(split=tuned))


def test_new_photos_fill_up_and_moved_ones_keep_their_part(table, run):
    known = earlier.parts(run / "birds.safetensors")
    first, second = sorted(table["label"].unique())[:2]
    mine = table[table["label"] == first]
    moved = mine[mine["split"] == "train"].index[0]
    paths = table["path"].copy()
    paths[moved] = f"{second}/{paths[moved].rsplit('/')[-1]}-moved"
    known = known.rename({table["path"][moved]: f"{first}/{paths[moved].rsplit('/')[-1]}"})
    new = pd.DataFrame({"path": [f"{first}/new-{k}.jpg" for k in range(20)], "label": first})
    labels = table["label"].where(table.index != moved, second)
    grown = pd.concat([table.assign(path=paths, label=labels), new], ignore_index=True)
    made = split(grown.assign(split="train"), 0.2, 0.2, seed=1, known=known)
    assert made["split"].iloc[moved] == "train"
    old = made.iloc[: len(table)]
    assert (old["split"] == table["split"]).all()
    assert set(made["split"].iloc[len(table) :]) == {"train", "valid", "calibration"}
    counts = made[made["label"] == first]["split"].value_counts()
    assert counts["valid"] == counts["calibration"] == round(0.2 * counts.sum())


def test_what_resembles_a_photo_that_taught_teaches(table, run):
    known = earlier.parts(run / "birds.safetensors")
    taught, judged = (table.index[table["split"] == part][0] for part in ("train", "calibration"))
    pair = pd.Series(None, table.index, dtype=object)
    pair[[taught, judged]] = "pair"
    made = split(table.assign(split="train", group=pair), 0.2, 0.2, known=known)
    assert made["split"][judged] == "train"


def test_weights_without_their_split_are_no_beginning(run, tmp_path, weights):
    file = tmp_path / "birds.safetensors"
    file.write_bytes((run / "birds.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"needs the split\.csv beside it"):
        earlier.parts(file)
    assert earlier.parts(None) is None
    assert earlier.parts(weights) is None


def test_a_run_of_another_network_is_no_beginning(dls, run):
    with pytest.raises(WeightsError, match=f"holds the weights of {ARCH}, not of test_resnet"):
        learner(dls, "test_resnet", str(run / "birds.safetensors"))


def test_the_head_of_other_labels_or_of_no_run_is_told(dls, run, weights):
    learn = learner(dls, ARCH, "random")
    with pytest.raises(WeightsError, match="taught other labels"):
        earlier.head(learn.model[1], run / "birds.safetensors", list(dls.vocab)[1:])
    for file in (weights_file("random"), weights):
        with pytest.raises(WeightsError, match="`weights` that a run left"):
            earlier.head(learn.model[1], file, dls.vocab)


def test_other_files_have_no_card(weights, tmp_path):
    saved = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, saved)
    assert read_weights_card(weights) is None
    assert read_weights_card(saved) is None
