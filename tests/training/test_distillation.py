"""A student learns from a teacher, and a teacher predicts in its own normalisation."""

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from fastai.vision.all import MixUp
from torch.nn import functional

from birds import photo
from birds.classifier import Classifier
from fieldmark.data import loaders as data
from fieldmark.errors import WeightsError
from fieldmark.training.create_teacher import check_teacher, create_teacher, describe_teacher
from fieldmark.training.distillation import Distillation
from fieldmark.training.learner import embed_splits
from tests.conftest import ARCH, SIZE, create_learner
from tests.training.conftest import PowerCut, changed_tensors, copy_state, load_checkpoint


class FirstLabel(torch.nn.Module):
    """Predict the first label always, and in two classes of its own whether a photo is dark."""

    num_classes = 2

    def forward(self, photos):
        logits = functional.one_hot(torch.zeros(len(photos), dtype=torch.long), 6) * 9.0
        dark = 20 * photos.as_subclass(torch.Tensor).mean((1, 2, 3))
        return logits, torch.stack([dark, -dark], 1)


@pytest.mark.slow
def test_a_student_learns_the_predictions_of_its_teacher(new_learner, quiet_fit):
    probability = {}
    for weight in (0.0, 1.0):
        learn = new_learner()
        callbacks = [Distillation(FirstLabel(), weight)]
        quiet_fit(learn, 2, 0.05, folder=str(weight), cbs=callbacks)
        with learn.no_bar(), learn.no_logging():
            probability[weight] = learn.get_preds()[0][:, 0].mean()
    assert probability[1.0] > probability[0.0] + 0.2


def test_the_teacher_sees_photos_before_they_are_shrunk(table, folder, settings, weights):
    options = {"shrink_share": 1.0, "min_scale": 0.3, "max_lighting": 0.0, "min_crop_area": 1.0}
    options |= {"flip": False, "max_rotate": 0.0, "max_warp": 0.0, "min_resolution": 0.3}
    learn = create_learner(
        data.make_dataloaders(table, folder, **settings, batch_size=8, **options), weights
    )
    distillation = Distillation(FirstLabel(), 1.0)
    learn.add_cb(distillation)
    distillation.x = learn.dls.train.one_batch()[0]
    seen = distillation.teacher_photos().as_subclass(torch.Tensor)
    served = torch.cat(
        [photos for photos, _ in learn.dls.test_dl(learn.dls.train.items, with_labels=True)]
    )
    differences = (seen[:, None] - served.as_subclass(torch.Tensor)[None]).abs().mean((2, 3, 4))
    assert (differences.amin(1) < 0.05).all()
    shrunk = (distillation.x.as_subclass(torch.Tensor) - seen).abs().mean((1, 2, 3))
    assert (shrunk > 0.2).all()
    learn.add_cb(MixUp(0.4))
    assert distillation.teacher_photos() is distillation.x


@pytest.mark.slow
def test_the_auxiliary_head_learns_the_teachers_own_classes_and_is_discarded(
    new_learner, quiet_fit, tmp_path
):
    learn, distillation = new_learner(), Distillation(FirstLabel(), 0.0, 1.0)
    learn.unfreeze()
    names = copy_state(learn.model).keys()
    quiet_fit(learn, 10, 0.02, cbs=[distillation])
    assert copy_state(learn.model).keys() == names
    assert not learn.model[1][-1]._forward_pre_hooks
    last_epoch = load_checkpoint(tmp_path / "run")["model"]  # the head is of that epoch
    learn.model.load_state_dict(last_epoch)
    (photos,) = learn.dls.test_dl(learn.dls.train.items, bs=64).one_batch()
    with torch.no_grad():
        embedding = learn.model.eval()[1][:-1](learn.model[0](photos)).as_subclass(torch.Tensor)
        predicted = distillation.auxiliary_head(embedding).argmax(1)
    assert (predicted == FirstLabel()(photos)[1].argmax(1)).float().mean() > 0.7


def test_distillation_resumes_with_its_auxiliary_head(new_learner, quiet_fit):
    whole, stopped, resumed = new_learner(), new_learner(), new_learner()
    torch.manual_seed(7)  # for the start of the auxiliary head
    expected = quiet_fit(whole, 2, folder="whole", cbs=[Distillation(FirstLabel(), 0.5, 0.5)])
    torch.manual_seed(7)
    callbacks = [Distillation(FirstLabel(), 0.5, 0.5), PowerCut(0)]
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(stopped, 2, folder="stopped", cbs=callbacks)
    checkpoint = quiet_fit(resumed, 2, folder="stopped", cbs=[Distillation(FirstLabel(), 0.5, 0.5)])
    columns = ["train_loss", "valid_loss", "accuracy"]
    pd.testing.assert_frame_equal(checkpoint.history[columns], expected.history[columns])
    assert changed_tensors(copy_state(whole.model), resumed.model) == []


@pytest.fixture
def teacher_of(folder):
    """Return a function that creates a teacher for a Learner of the drawn birds."""

    def create(learn, arch, weights, **options):
        return create_teacher(learn, folder, arch, str(weights), **options)

    return create


def test_a_teacher_gets_photos_in_its_own_normalisation(new_learner, teacher_of, weights, settings):
    learn = new_learner()
    teacher, _ = teacher_of(learn, ARCH, weights, mean=(0.5,) * 3, std=(0.25,) * 3)
    photos, _ = learn.dls.valid.one_batch()
    mean, std = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = photos.as_subclass(torch.Tensor) * std + mean
    overlay = {"file": str(weights)}
    network = timm.create_model(
        ARCH, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0
    )
    with torch.no_grad():
        expected = network.eval()((pixels - 0.5) / 0.25)
        assert torch.allclose(teacher.embedding(photos), expected, atol=1e-4)


def test_a_teachers_probe_is_fitted_on_train_and_measured_on_valid(
    new_learner, teacher_of, weights, folder
):
    learn = new_learner()
    teacher, accuracy = teacher_of(learn, ARCH, weights)
    splits = embed_splits(learn, folder, backbone=teacher.embedding)
    predicted = {}
    for split, (embeddings, labels) in splits.items():
        logits = teacher.probe(torch.from_numpy(embeddings)).numpy()
        predicted[split] = (logits.argmax(1) == labels).mean()
    assert predicted["train"] > 0.9
    assert accuracy == pytest.approx(predicted["valid"], abs=1e-4)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_teacher_with_a_fixed_size_is_created_for_the_size_of_the_photos(new_learner, teacher_of):
    teacher, _ = teacher_of(new_learner(), "test_vit_relpos", "random")
    assert teacher.network.patch_embed.img_size == (SIZE, SIZE)


def test_a_teacher_also_predicts_the_classes_of_its_weights(new_learner, teacher_of, weights):
    learn = new_learner()
    teacher, _ = teacher_of(learn, ARCH, weights, num_classes=3)
    photos, _ = learn.dls.valid.one_batch()
    with torch.no_grad():
        logits, own_logits = teacher(photos)
        expected = teacher.network(
            photos.as_subclass(torch.Tensor) * teacher.embedding.scale + teacher.embedding.shift
        )
    assert (logits.shape[1], own_logits.shape[1], teacher.num_classes) == (6, 3, 3)
    assert torch.allclose(own_logits, expected, atol=1e-5)
    with pytest.raises(WeightsError, match="7 classes"):
        teacher_of(learn, ARCH, weights, num_classes=7)


def test_the_environment_overrides_the_weights_of_a_teacher(monkeypatch, weights, tmp_path):
    missing = str(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="FIELDMARK_TEACHER"):
        check_teacher(missing)
    monkeypatch.setenv("FIELDMARK_TEACHER", str(weights))
    check_teacher(missing)
    assert describe_teacher(ARCH, missing)["start"] == weights.name


def test_a_run_can_be_the_teacher_and_predicts_as_its_model_file(
    table, folder, settings, weights, run, teacher_of
):
    other = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    dls = data.make_dataloaders(table, folder, **settings | other, batch_size=8)
    learn = create_learner(dls, "random", **other)
    teacher, accuracy = teacher_of(learn, ARCH, weights, num_classes=3, run=str(run))
    photos, _ = learn.dls.valid.one_batch()
    with torch.no_grad():
        logits, own_logits = teacher(photos)
    files = [folder / path for path in learn.dls.valid.items["path"][:8]]
    pixels = np.stack([photo.prepare(file.read_bytes(), SIZE) for file in files])
    classifier = Classifier(run / "birds.onnx")
    expected = torch.from_numpy(classifier.predict(pixels).probability)
    assert torch.allclose(logits.softmax(1), expected, atol=1e-3)
    assert own_logits.shape == (8, 3)
    assert 0 < accuracy < 1
    facts = describe_teacher(ARCH, str(weights), str(run))["run"]
    assert facts["version"] == classifier.card["version"]


def test_a_run_and_a_probe_predict_together(new_learner, teacher_of, weights, run):
    learn = new_learner()
    photos, _ = learn.dls.valid.one_batch()
    logits = {}
    for weight in (0.0, 0.3, 1.0):
        teacher, _ = teacher_of(learn, ARCH, weights, run=str(run), probe_weight=weight)
        with torch.no_grad():
            logits[weight] = teacher(photos)[0]
    assert torch.allclose(logits[0.3], 0.7 * logits[0.0] + 0.3 * logits[1.0], atol=1e-4)
    alone, _ = teacher_of(learn, ARCH, weights)
    with torch.no_grad():  # beside a run the probe is calibrated, which keeps the order
        assert torch.equal(alone(photos)[0].argmax(1), logits[1.0].argmax(1))


def test_a_run_that_was_trained_on_photos_evaluated_here_is_no_teacher(
    table, folder, settings, run, teacher_of
):
    swap = {"train": "calibration", "calibration": "train", "valid": "valid"}
    swapped = table.assign(split=table["split"].map(swap))
    dls = data.make_dataloaders(swapped, folder, **settings, batch_size=8)
    with pytest.raises(WeightsError, match=r"trained on \d+ photos"):
        teacher_of(create_learner(dls, "random"), ARCH, "random", run=str(run))


def test_a_run_with_other_labels_or_none_is_no_teacher(
    table, folder, settings, run, tmp_path, teacher_of
):
    fewer = table[table["label"] != table["label"].iloc[0]]
    dls = data.make_dataloaders(fewer, folder, **settings, batch_size=8)
    learn = create_learner(dls, "random")
    with pytest.raises(WeightsError, match="other labels"):
        teacher_of(learn, ARCH, "random", run=str(run))
    with pytest.raises(WeightsError, match=r"birds\.safetensors"):
        teacher_of(learn, ARCH, "random", run=str(tmp_path))
