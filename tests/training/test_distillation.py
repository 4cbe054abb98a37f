"""A teacher sees what the Learner's body sees, in its own normalisation, and answers by a probe."""

import numpy as np
import pytest
import timm
import torch

from birds import photo
from birds.classifier import Classifier
from fieldmark.data import loaders as data
from fieldmark.errors import WeightsError
from fieldmark.recipe import validate_recipe
from fieldmark.training.distillation import make_teacher, teacher_facts, wanted_teacher
from fieldmark.training.learner import features
from tests.conftest import ARCH, SIZE, create_learner


def test_a_teacher_gets_its_own_normalisation(new_learner, weights, settings):
    learn = new_learner()
    net, _ = make_teacher(learn, ARCH, str(weights), mean=(0.5,) * 3, std=(0.25,) * 3)
    photos, _ = learn.dls.valid.one_batch()
    mean, std = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = photos.as_subclass(torch.Tensor) * std + mean
    body = timm.create_model(
        ARCH, pretrained=True, pretrained_cfg_overlay={"file": str(weights)}, num_classes=0
    ).eval()
    with torch.no_grad():
        expected = body((pixels - 0.5) / 0.25)
        assert torch.allclose(net.embedding(photos), expected, atol=1e-4)


def test_a_teacher_has_learned_the_labels_and_is_judged_on_tune(new_learner, weights):
    learn = new_learner()
    net, right = make_teacher(learn, ARCH, str(weights))
    (answers, labels), (asked, truth) = features(learn, lambda photos: net(photos)[0])
    assert (answers.argmax(1) == labels).float().mean() > 0.9
    assert right == round((asked.argmax(1) == truth).float().mean().item(), 4)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_a_teacher_that_is_made_for_one_size_is_made_for_that_of_the_photos(new_learner):
    net, _ = make_teacher(new_learner(), "test_vit_relpos", "random")
    assert net.network.patch_embed.img_size == (SIZE, SIZE)


def test_a_teacher_also_answers_in_the_classes_that_its_file_knows(new_learner, weights):
    learn = new_learner()
    net, _ = make_teacher(learn, ARCH, str(weights), num_classes=3)
    photos, _ = learn.dls.valid.one_batch()
    with torch.no_grad():
        answers, own = net(photos)
        expected = net.network(photos.as_subclass(torch.Tensor) * net.scale + net.shift)
    assert (answers.shape[1], own.shape[1], net.classes) == (6, 3, 3)
    assert torch.allclose(own, expected, atol=1e-5)


def test_a_file_with_other_classes_is_told(new_learner, weights):
    with pytest.raises(WeightsError, match=r"does not hold weights of .* with 7 classes"):
        make_teacher(new_learner(), ARCH, str(weights), classes=7)


def test_the_setting_overrides_the_recipes_weights(monkeypatch):
    recipe = {"arch": ARCH, "weights": "a.safetensors"}
    assert wanted_teacher(**recipe) == "a.safetensors"
    monkeypatch.setenv("FIELDMARK_TEACHER", "b.safetensors")
    assert wanted_teacher(**recipe) == "b.safetensors"
    assert validate_recipe({"teacher": recipe}).teacher == recipe


@pytest.fixture
def at_hand(folder, monkeypatch):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))


@pytest.mark.usefixtures("at_hand")
def test_a_run_can_be_the_teacher_and_answers_as_its_file_does(
    table, folder, settings, weights, run
):
    other = settings | {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    dls = data.make_dataloaders(table, folder, **other, batch_size=8)
    learn = create_learner(dls, "random", mean=(0.5,) * 3, std=(0.25,) * 3)
    net, right = make_teacher(learn, ARCH, str(weights), classes=3, run=str(run))
    loader = learn.dls.test_dl(table[table["split"] == "valid"], with_labels=True)
    with torch.no_grad():
        answers, own = net(loader.one_batch()[0])
    files = [folder / path for path in loader.items["path"][:8]]
    pixels = np.stack([photo.prepare(file.read_bytes(), SIZE) for file in files])
    classifier = Classifier(run / "birds.onnx")
    expected = torch.from_numpy(classifier.predict(pixels).probability)
    assert torch.allclose(answers.softmax(1), expected, atol=1e-3)
    assert own.shape == (8, 3)
    assert 0 < right < 1
    known = teacher_facts(ARCH, str(weights), str(run))["run"]
    assert known["version"] == classifier.card["version"]


@pytest.mark.usefixtures("at_hand")
def test_a_run_and_a_probe_answer_together(new_learner, weights, run):
    learn = new_learner()
    photos, _ = learn.dls.valid.one_batch()
    told = {}
    for share in (0.0, 0.3, 1.0):
        net, _ = make_teacher(
            learn, ARCH, str(weights), num_classes=3, run=str(run), probe_weight=share
        )
        with torch.no_grad():
            told[share] = net(photos)[0]
    expected = 0.7 * told[0.0] + 0.3 * told[1.0]
    assert torch.allclose(told[0.3], expected, atol=1e-4)
    alone, _ = make_teacher(learn, ARCH, str(weights))
    with torch.no_grad():
        answers = alone(photos)[0]
    assert torch.equal(answers.argmax(1), told[1.0].argmax(1))  # only as sure as suits `valid`


@pytest.mark.usefixtures("at_hand")
def test_a_run_that_was_taught_what_judges_here_is_no_teacher(table, folder, settings, run):
    swap = {"train": "calibration", "calibration": "train", "valid": "valid"}
    listed = table.assign(split=table["split"].map(swap))
    dls = data.make_dataloaders(listed, folder, **settings, batch_size=8)
    learn = create_learner(dls, "random")
    with pytest.raises(WeightsError, match=r"learned from \d+ photos that judge here"):
        make_teacher(learn, ARCH, "random", run=str(run))


@pytest.mark.usefixtures("at_hand")
def test_a_run_with_other_labels_or_none_is_no_teacher(table, folder, settings, run, tmp_path):
    fewer = table[table["label"] != table["label"].iloc[0]]
    learn = create_learner(data.make_dataloaders(fewer, folder, **settings, batch_size=8), "random")
    with pytest.raises(WeightsError, match="other labels"):
        make_teacher(learn, ARCH, "random", run=str(run))
    with pytest.raises(WeightsError, match="`make train` writes it"):
        make_teacher(learn, ARCH, "random", run=str(tmp_path))
