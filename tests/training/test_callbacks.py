"""Callbacks beyond fastai's: seeds per epoch, growing photos, averaged weights."""

import pytest
import torch
from fastai.vision.all import Callback

from fieldmark.training.callbacks import ProgressiveResizing, SeedEpochs, WeightAverage
from tests.training.conftest import Recorder, load_checkpoint


@pytest.mark.slow
def test_an_epoch_is_the_same_whenever_it_is_run(new_learner):
    inputs = []
    for epochs_done in (0, 2):
        learn, recorder = new_learner(), Recorder()
        with learn.no_bar(), learn.no_logging():
            learn.fit(3 - epochs_done, 0.0, cbs=[SeedEpochs(1, epochs_done), recorder])
        inputs.append(recorder.inputs[-1])
    assert torch.equal(*inputs)


def test_photos_grow_to_full_size_in_the_first_half_of_the_epochs():
    sizes = [ProgressiveResizing(0.5, epochs=4).size(epoch, 64) for epoch in range(4)]
    assert sizes == [32, 64, 64, 64]  # rounded to multiples of 32
    assert ProgressiveResizing(0.5, epochs=10).size(2, 224) == 160


def test_the_average_follows_the_weights_by_its_decay(new_head_learner, quiet_fit):
    learn, average = new_head_learner(), WeightAverage(0.75)
    weight = learn.model[-1].weight
    expected = weight.detach().clone()

    class Follow(Callback):
        def after_step(self):
            expected.lerp_(weight.detach(), 0.25)

    quiet_fit(learn, 1, cbs=[average, Follow()])
    assert torch.allclose(average.average.module.state_dict()["4.weight"], expected, atol=1e-6)


def test_the_average_is_validated_and_kept(new_head_learner, quiet_fit, tmp_path):
    learn, average = new_head_learner(), WeightAverage(0.9)
    checkpoint = quiet_fit(learn, 2, 0.05, cbs=[average])
    averaged = average.average.module.state_dict()
    trained = load_checkpoint(tmp_path / "run")["model"]
    assert not torch.equal(trained["4.weight"], averaged["4.weight"])
    learn.model.load_state_dict(averaged)
    with learn.no_bar(), learn.no_logging():
        loss = learn.validate()[3]
    assert loss == pytest.approx(checkpoint.history["log_loss"].iloc[-1], rel=1e-4)
