"""A run may begin where an earlier one ended."""

import pytest
import torch

from tests.conftest import ARCH
from training import data, earlier
from training.learner import WeightsError, learner, weights_facts, weights_file
from training.restore import restored

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


def test_a_run_that_was_taught_what_judges_here_is_no_beginning(table, folder, settings, run):
    swap = {"train": "calibrate", "calibrate": "train", "tune": "tune"}
    listed = table.assign(split=table["split"].map(swap))
    with pytest.raises(WeightsError, match=r"learned from \d+ photos that judge here"):
        learner(data.dataloaders(listed, folder, **settings), ARCH, str(run / "birds.safetensors"))


def test_weights_without_their_split_are_no_beginning(dls, run, tmp_path):
    file = tmp_path / "birds.safetensors"
    file.write_bytes((run / "birds.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"no split\.csv"):
        learner(dls, ARCH, str(file))


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
    assert earlier.card_in(weights) is None
    assert earlier.card_in(saved) is None
