"""A teacher sees what the Learner's body sees, in its own normalisation, and answers by a probe."""

import pytest
import timm
import torch

from tests.conftest import ARCH, SIZE
from training import teacher as teachers
from training.learner import WeightsError, features
from training.recipe import checked


def test_a_teacher_gets_its_own_normalisation(new_learner, weights, settings):
    learn = new_learner()
    net, _ = teachers.make_teacher(learn, ARCH, str(weights), mean=(0.5,) * 3, std=(0.25,) * 3)
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
    net, right = teachers.make_teacher(learn, ARCH, str(weights))
    (answers, labels), (asked, truth) = features(learn, lambda photos: net(photos)[0])
    assert (answers.argmax(1) == labels).float().mean() > 0.9
    assert right == round((asked.argmax(1) == truth).float().mean().item(), 4)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_a_teacher_that_is_made_for_one_size_is_made_for_that_of_the_photos(new_learner):
    net, _ = teachers.make_teacher(new_learner(), "test_vit_relpos", "random")
    assert net.network.patch_embed.img_size == (SIZE, SIZE)


def test_a_teacher_also_answers_in_the_classes_that_its_file_knows(new_learner, weights):
    learn = new_learner()
    net, _ = teachers.make_teacher(learn, ARCH, str(weights), classes=3)
    photos, _ = learn.dls.valid.one_batch()
    with torch.no_grad():
        answers, own = net(photos)
        expected = net.network(photos.as_subclass(torch.Tensor) * net.scale + net.shift)
    assert (answers.shape[1], own.shape[1], net.classes) == (6, 3, 3)
    assert torch.allclose(own, expected, atol=1e-5)


def test_a_file_with_other_classes_is_told(new_learner, weights):
    with pytest.raises(WeightsError, match=r"doesn't hold the weights of .* with 7 classes"):
        teachers.make_teacher(new_learner(), ARCH, str(weights), classes=7)


def test_the_setting_overrides_the_recipes_weights(monkeypatch):
    recipe = {"arch": ARCH, "weights": "a.safetensors"}
    assert teachers.wanted_teacher(**recipe) == "a.safetensors"
    monkeypatch.setenv("FIELDMARK_TEACHER", "b.safetensors")
    assert teachers.wanted_teacher(**recipe) == "b.safetensors"
    assert checked({"teacher": recipe})["teacher"] == recipe
