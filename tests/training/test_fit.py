"""A phase is fitted by its schedule, keeps its best epoch, and resumes after an interruption."""

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision.all import Callback
from safetensors.torch import load_file
from torch.nn import functional

from fieldmark.errors import TrainingError
from fieldmark.run import Run
from fieldmark.training.fit import accumulation_callbacks, mixing_callbacks
from fieldmark.training.learner import log_loss
from fieldmark.training.schedules import create_schedule, restart_ends
from tests.training.conftest import (
    PowerCut,
    Recorder,
    changed_tensors,
    copy_state,
    load_checkpoint,
)

FIGURES = ["train_loss", "valid_loss", "accuracy", "log_loss"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "warm_restarts", "ema_decay": 0.9},
        {"schedule": "flat_cosine", "patience": 9},
    ],
    ids=str,
)
def test_a_resumed_fit_equals_an_uninterrupted_one(new_head_learner, quiet_fit, tmp_path, options):
    whole = new_head_learner()
    expected = quiet_fit(whole, 4, folder="whole", **options)
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(new_head_learner(), 4, folder="stopped", cbs=[PowerCut(1)], **options)
    assert pd.read_csv(tmp_path / "stopped/history.csv")["epoch"].tolist() == [1, 2]
    resumed = new_head_learner()
    checkpoint = quiet_fit(resumed, 4, folder="stopped", **options)
    assert checkpoint.history["epoch"].tolist() == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(checkpoint.history[FIGURES], expected.history[FIGURES])
    assert checkpoint.learning_rates == pytest.approx(expected.learning_rates)
    assert checkpoint.learning_rates.shape == (4 * len(whole.dls.train), 1)
    assert changed_tensors(copy_state(whole.model), resumed.model) == []
    history = pd.read_csv(tmp_path / "stopped/history.csv")
    pd.testing.assert_frame_equal(history[FIGURES], expected.history[FIGURES], rtol=1e-4)


@pytest.mark.slow
def test_a_whole_network_on_growing_photos_resumes_as_well(new_learner, quiet_fit):
    options = {"start_size_fraction": 0.5}
    whole, resumed = new_learner(), new_learner()
    quiet_fit(whole, 3, folder="whole", **options)
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(new_learner(), 3, folder="stopped", cbs=[PowerCut(0)], **options)
    recorder = Recorder()
    quiet_fit(resumed, 3, folder="stopped", cbs=[recorder], **options)
    assert changed_tensors(copy_state(whole.model), resumed.model) == []
    assert {x.shape[-1] for x in recorder.inputs} == {64}  # the first epoch had 32


def test_the_weights_before_training_have_their_share_in_the_result(new_head_learner, quiet_fit):
    start = copy_state(new_head_learner().model)
    trained, averaged, resumed = (new_head_learner() for _ in range(3))
    quiet_fit(trained, 2, folder="trained", start_weights_share=0.0)
    kept = copy_state(trained.model)
    assert kept.keys() == set(changed_tensors(start, trained.model))
    options = {"folder": "averaged", "start_weights_share": 0.25}
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(new_head_learner(), 2, cbs=[PowerCut(0)], **options)
    checkpoint = quiet_fit(averaged, 2, **options)
    assert changed_tensors(checkpoint.state["best_model"], trained.model) == []
    for name, tensor in averaged.model.state_dict().items():
        if tensor.is_floating_point():
            expected = 0.25 * start[name] + 0.75 * kept[name]
            torch.testing.assert_close(tensor, expected)
        else:
            assert torch.equal(tensor, kept[name])
    quiet_fit(resumed, 2, **options)  # the phase is finished
    assert changed_tensors(copy_state(averaged.model), resumed.model) == []


def test_a_finished_phase_is_not_fitted_again_when_the_run_resumes(new_head_learner, quiet_fit):
    first = quiet_fit(new_head_learner(), 2)
    recorder, learn = Recorder(), new_head_learner()
    again = quiet_fit(learn, 2, cbs=[recorder])
    assert recorder.optimizer_steps == 0
    assert again.history.equals(first.history)
    assert changed_tensors(first.state["best_model"], learn.model) == []


def test_the_epoch_with_the_lowest_log_loss_is_kept(new_head_learner, quiet_fit):
    class SpoilLastEpoch(Callback):
        def before_validate(self):
            if self.epoch == 2:
                self.model[-1].weight.data.zero_()

    learn = new_head_learner()
    checkpoint = quiet_fit(learn, 3, cbs=[SpoilLastEpoch()])
    assert checkpoint.history["accuracy"].iloc[-1] == pytest.approx(1 / 6, abs=1e-3)
    with learn.no_bar(), learn.no_logging():
        _, accuracy, _, loss = learn.validate()
    assert loss == pytest.approx(checkpoint.history["log_loss"].min())
    assert accuracy > 1 / 6


def test_a_loss_that_is_not_a_number_stops_training_and_keeps_the_epoch_before(
    new_head_learner, quiet_fit, tmp_path
):
    class Diverge(Callback):
        def before_validate(self):
            if self.epoch == 1:
                self.model[-1].weight.data.fill_(torch.nan)

    with pytest.raises(TrainingError, match=r"epoch 2 of frozen.*`frozen_learning_rate`"):
        quiet_fit(new_head_learner(), 3, phase="frozen", cbs=[Diverge()])
    kept = load_checkpoint(tmp_path / "run", "frozen")
    assert [row["epoch"] for row in kept["history"]] == [1]


def test_overconfidence_does_not_choose_the_epoch(new_head_learner, quiet_fit):
    class ScaleLogits(Callback):
        def before_validate(self):
            if self.epoch == 1:
                self.model[-1].weight.data.mul_(5)

    history = quiet_fit(new_head_learner(), 2, 0.0, cbs=[ScaleLogits()]).history
    assert history["valid_loss"][1] > 1.5 * history["valid_loss"][0]
    assert history["log_loss"][1] == pytest.approx(history["log_loss"][0], rel=0.15)


def test_log_loss_is_the_lowest_cross_entropy_over_temperatures():
    torch.manual_seed(0)
    labels = torch.randint(5, (400,))
    logits = 3 * torch.randn(400, 5) + 4 * functional.one_hot(labels, 5)
    losses = [functional.cross_entropy(logits / t, labels) for t in np.geomspace(0.1, 10, 500)]
    assert log_loss(logits, labels) == pytest.approx(float(min(losses)), rel=1e-3)
    assert log_loss(5 * logits, labels) == pytest.approx(log_loss(logits, labels), rel=1e-2)


def test_the_fit_stops_when_patience_runs_out(new_head_learner, quiet_fit):
    class Worsen(Callback):
        def before_validate(self):
            weight = self.model[-1].weight.data
            if self.epoch == 0:
                self.first = weight.clone()
            else:
                weight.copy_(-20 * self.first)

    checkpoint = quiet_fit(new_head_learner(), 8, 0.0, patience=2, cbs=[Worsen()])
    assert len(checkpoint.history) == 3  # the best epoch, and two without improvement
    assert checkpoint.out_of_patience


def learning_rates(name: str) -> np.ndarray:
    schedule = create_schedule(name, np.array([1.0]), 2, (0.95, 0.85, 0.95))["lr"]
    return np.array([schedule(fraction)[0] for fraction in np.linspace(0, 0.999, 100)])


def test_the_schedules_have_their_shapes():
    one_cycle, flat = learning_rates("one_cycle"), learning_rates("flat_cosine")
    assert one_cycle.argmax() == pytest.approx(20, abs=1)
    assert one_cycle[0] == pytest.approx(0.04, abs=0.01)
    assert (flat[:75] == 1).all()
    assert flat[-1] < 0.01
    restarts = np.flatnonzero(np.diff(learning_rates("warm_restarts")) > 0.5)
    assert restarts.tolist() == [33]  # the second fall lasts twice as long


def test_a_resumed_schedule_continues_where_it_was():
    rates = np.array([1.0])
    whole = create_schedule("one_cycle", rates, 1, (0.95, 0.85, 0.95))["lr"]
    rest = create_schedule("one_cycle", rates, 1, (0.95, 0.85, 0.95), start=0.5)["lr"]
    assert rest(0.5) == pytest.approx(whole(0.75))


def test_warm_restarts_save_a_snapshot_at_the_end_of_each_fall(
    new_head_learner, quiet_fit, tmp_path, table
):
    options = {"schedule": "warm_restarts", "restarts": 2}
    learn = new_head_learner()
    checkpoint = quiet_fit(learn, 3, folder="whole", **options)
    steps = len(checkpoint.learning_rates)
    ends = np.rint(restart_ends(2) * steps).astype(int)
    assert ends.tolist() == [steps // 3, steps]
    highest = checkpoint.learning_rates.max(0)
    assert (checkpoint.learning_rates[ends - 1] < 0.1 * highest).all()
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(new_head_learner(), 3, folder="stopped", cbs=[PowerCut(1)], **options)
    quiet_fit(new_head_learner(), 3, folder="stopped", **options)
    whole, stopped = (Run(tmp_path / name).snapshots for name in ("whole", "stopped"))
    names = ["1.safetensors", "2.safetensors"]
    assert sorted(path.name for path in whole.iterdir()) == names
    for name in names:
        expected, saved = load_file(whole / name), load_file(stopped / name)
        assert all(torch.equal(value, saved[key]) for key, value in expected.items())
    assert changed_tensors(load_file(whole / names[1]), learn.model) == []
    Run(tmp_path / "stopped").begin({"seed": 2}, table)  # another recipe
    assert not stopped.exists()


def test_gradients_accumulate_before_a_step(new_head_learner, quiet_fit):
    every, third = Recorder(), Recorder()
    quiet_fit(new_head_learner(), 3, folder="every", cbs=[every])
    callbacks = [third, *accumulation_callbacks(5, 8)]
    quiet_fit(new_head_learner(), 3, folder="third", cbs=callbacks)
    assert every.optimizer_steps == len(every.rates) == 15
    assert third.optimizer_steps == 3
    assert accumulation_callbacks(1, 8) == []


@pytest.mark.parametrize("alphas", [(0.4, 0), (0, 1)], ids=["mixup", "cutmix"])
def test_photos_and_labels_are_mixed(new_learner, quiet_fit, alphas):
    (mixing,) = mixing_callbacks(*alphas)
    original, mixed, differences = [], [], []

    class Compare(Callback):
        """Compare photos before and after mixing, and the loss with that of both labels."""

        order = mixing.order - 1
        run_valid = False

        def before_batch(self):
            original.append(self.x.clone())

        def after_pred(self):
            mixed.append(self.x.clone())

        def after_loss(self):
            first, second = (
                functional.cross_entropy(self.pred, y, label_smoothing=0.1, reduction="none")
                for y in (self.y, mixing.yb1[0])
            )
            expected = torch.lerp(second, first, mixing.lam).mean()
            differences.append(abs(self.loss - expected).detach().item())

    quiet_fit(new_learner(), 1, cbs=[mixing, Compare()])
    assert any(not torch.equal(*pair) for pair in zip(original, mixed, strict=True))
    assert max(differences) < 1e-5
    assert mixing_callbacks(0, 0) == []


def test_the_optimizers_differ(new_head_learner, quiet_fit):
    states = {}
    for name in ("adamw", "sgd"):
        learn = new_head_learner(name)
        quiet_fit(learn, 1, folder=name)
        states[name] = copy_state(learn.model)
        assert ("sqr_avg" in learn.opt.state_dict()["state"][-1]) == (name == "adamw")
    assert not torch.equal(states["adamw"]["4.weight"], states["sgd"]["4.weight"])


@pytest.mark.parametrize(
    ("error", "raised"),
    [(torch.OutOfMemoryError("CUDA out of memory"), TrainingError), (RuntimeError("x"), None)],
)
def test_running_out_of_memory_suggests_a_batch_size(new_head_learner, quiet_fit, error, raised):
    class Fail(Callback):
        def before_batch(self):
            raise error

    with pytest.raises((TrainingError, RuntimeError)) as caught:
        quiet_fit(new_head_learner(), 1, cbs=[Fail()])
    assert isinstance(caught.value, TrainingError) == bool(raised)
    if raised:
        assert "batch_size: 4" in str(caught.value)
