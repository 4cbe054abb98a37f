"""Each way to fit does what it is called; a run that was stopped loses no epoch."""

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision.all import Callback
from torch.nn import functional

from fieldmark.run import Run
from fieldmark.training.callbacks import ProgressiveResizing, SeedEpochs, Teacher, WeightAverage
from fieldmark.training.fit import FitError, accumulation, fit, mixing, planned
from fieldmark.training.learner import layer_learning_rates, log_loss


class Watch(Callback):
    """Note what passes by in training."""

    order = 90
    run_valid = False

    def __init__(self):
        self.rates, self.sizes, self.inputs, self.steps = [], [], [], 0

    def before_batch(self):
        self.rates.append([each["lr"] for each in self.opt.hypers])
        self.sizes.append(self.x.shape[-1])
        self.inputs.append(self.x.detach().clone())

    def after_step(self):
        self.steps += 1


class PowerCut(Callback):
    """End the process in the middle of an epoch, as a power cut does."""

    order = 85

    def __init__(self, epoch):
        self.at = epoch

    def after_epoch(self):
        if self.epoch == self.at:
            raise KeyboardInterrupt


@pytest.fixture
def quiet_fit(tmp_path, table):
    """Return a function that fits as the notebook does, without its progress bars."""

    def run_fit(learn, epochs=2, rate=0.01, folder="run", **options):
        run = Run(tmp_path / folder).begin({"seed": 1}, table)
        with learn.no_bar(), learn.no_logging():
            return fit(learn, run, "fine", epochs, rate, **options)

    return run_fit


def state(learn) -> dict:
    return {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "warm_restarts", "average": 0.9},
        {"schedule": "flat_cosine", "resize_from": 0.5},
    ],
    ids=str,
)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(new_learner, quiet_fit, options):
    whole = new_learner()
    expected = quiet_fit(whole, 4, folder="whole", **options)
    stopped = new_learner()
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(stopped, 4, folder="stopped", cbs=[PowerCut(1)], **options)
    resumed = new_learner()
    found = quiet_fit(resumed, 4, folder="stopped", **options)
    assert found.history["epoch"].tolist() == [1, 2, 3, 4]
    figures = ["train_loss", "valid_loss", "accuracy"]
    pd.testing.assert_frame_equal(found.history[figures], expected.history[figures])
    assert found.rates == pytest.approx(expected.rates)
    assert found.rates.shape == (4 * len(whole.dls.train), len(whole.opt.hypers))
    assert same(state(resumed), state(whole))


def test_a_finished_stage_is_not_fitted_again_when_the_run_goes_on(new_learner, quiet_fit):
    first = quiet_fit(new_learner(), 2)
    watch = Watch()
    learn = new_learner()
    again = quiet_fit(learn, 2, cbs=[watch])
    assert watch.steps == 0
    assert again.history.equals(first.history)
    assert same(state(learn), first.state["best_model"])


def test_the_best_epoch_by_tune_is_kept(new_learner, quiet_fit):
    class Spoil(Callback):
        """Ruin the head before the last validation."""

        def before_validate(self):
            if self.epoch == 2:
                self.model[1][-1].weight.data.zero_()

    learn = new_learner()
    found = quiet_fit(learn, 3, cbs=[Spoil()])
    assert found.history["accuracy"].iloc[-1] == pytest.approx(1 / 6, abs=1e-3)
    with learn.no_bar(), learn.no_logging():
        _, accuracy, _, loss = learn.validate()
    assert loss == pytest.approx(found.history["log_loss"].min())
    assert accuracy > 1 / 6


def test_how_sure_a_network_is_of_itself_does_not_choose_the_epoch(new_learner, quiet_fit):
    class Bolder(Callback):
        """Give the same answers in the later epochs, but at five times the logits."""

        def before_validate(self):
            if self.epoch == 1:
                self.model[1][-1].weight.data.mul_(5)

    history = quiet_fit(new_learner(), 2, rate=0.0, cbs=[Bolder()]).history
    assert history["valid_loss"][1] > 1.5 * history["valid_loss"][0]
    assert history["log_loss"][1] == pytest.approx(history["log_loss"][0], rel=0.15)


def test_log_loss_is_the_lowest_cross_entropy_that_a_temperature_gives():
    torch.manual_seed(0)
    labels = torch.randint(5, (400,))
    logits = 3 * torch.randn(400, 5) + 4 * functional.one_hot(labels, 5)
    found = [
        functional.cross_entropy(logits / warmth, labels) for warmth in np.geomspace(0.1, 10, 500)
    ]
    assert log_loss(logits, labels) == pytest.approx(float(min(found)), rel=1e-3)
    assert log_loss(5 * logits, labels) == pytest.approx(log_loss(logits, labels), rel=1e-2)


def test_it_stops_when_patience_is_at_its_end(new_learner, quiet_fit):
    class Worse(Callback):
        """Turn the head round after the first epoch."""

        def before_validate(self):
            weight = self.model[1][-1].weight.data
            if self.epoch == 0:
                self.kept = weight.clone()
            else:
                weight.copy_(-20 * self.kept)

    found = quiet_fit(new_learner(), 8, rate=0.0, patience=2, cbs=[Worse()])
    assert len(found.history) == 3  # the first is the best, two more are not better
    assert found.stuck


@pytest.mark.parametrize("schedule", ["one_cycle", "flat_cosine", "warm_restarts"])
def test_each_stage_gets_its_own_rate_at_every_step(new_learner, quiet_fit, schedule):
    learn, watch = new_learner(), Watch()
    learn.unfreeze()
    quiet_fit(learn, 2, layer_learning_rates(learn, 0.01, 0.5), schedule=schedule, cbs=[watch])
    used = np.array(watch.rates)
    assert np.allclose(used[:, 1:], 2 * used[:, :-1])
    assert used.max() == pytest.approx(0.01, rel=0.05)


def test_the_schedules_have_their_shapes():
    def lrs(name, **options):
        plan = planned(name, np.array([1.0]), 2, (0.95, 0.85, 0.95))["lr"]
        return np.array([plan(share)[0] for share in np.linspace(0, 0.999, 100)])

    one, flat, warm = lrs("one_cycle"), lrs("flat_cosine"), lrs("warm_restarts")
    assert one.argmax() == pytest.approx(20, abs=1)
    assert one[0] == pytest.approx(0.04, abs=0.01)
    assert (flat[:75] == 1).all()
    assert flat[-1] < 0.01
    jumps = np.flatnonzero(np.diff(warm) > 0.5)
    assert jumps.tolist() == [33]  # a third of the way: the second fall lasts twice as long


def test_averaged_weights_differ_from_the_trained_ones_and_are_the_ones_judged(
    new_learner, quiet_fit
):
    learn, average = new_learner(), WeightAverage(0.9)
    found = quiet_fit(learn, 2, cbs=[average])
    trained, averaged = (
        torch.load(found.file, weights_only=True)["model"],
        average.average.module.state_dict(),
    )
    weight = "1.4.weight" if "1.4.weight" in trained else next(n for n in trained if n[0] == "1")
    assert not torch.equal(trained[weight], averaged[weight])
    learn.model.load_state_dict(averaged)
    with learn.no_bar(), learn.no_logging():
        assert learn.validate()[1] == pytest.approx(found.history["accuracy"].iloc[-1])


def test_the_average_follows_by_its_decay(new_learner, quiet_fit):
    learn, average = new_learner(), WeightAverage(0.75)
    last = learn.model[1][-1].weight
    expected, seen = last.detach().clone(), []

    class Follow(Callback):
        def after_step(self):
            expected.lerp_(last.detach(), 0.25)
            seen.append(True)

    quiet_fit(learn, 1, cbs=[average, Follow()])
    assert seen
    name = next(n for n, p in learn.model.named_parameters() if p is last)
    assert torch.allclose(average.average.module.state_dict()[name], expected, atol=1e-6)


def test_small_photos_come_first(new_learner, quiet_fit):
    watch = Watch()
    quiet_fit(new_learner(), 4, resize_from=0.5, cbs=[watch])
    by_epoch = np.array(watch.sizes).reshape(4, -1)
    assert by_epoch[:, 0].tolist() == [32, 64, 64, 64]  # rounded to multiples of 32
    assert ProgressiveResizing(0.5, epochs=10).size(2, 224) == 160


@pytest.mark.parametrize("alphas", [(0.4, 0), (0, 1)], ids=["mixup", "cutmix"])
def test_mixed_photos_and_labels_are_mixed(new_learner, quiet_fit, alphas):
    (mixed,) = mixing(*alphas)
    whole, parts, apart = [], [], []

    class Look(Callback):
        """Compare photos before and after mixing, and the loss with that of both labels."""

        order = mixed.order - 1
        run_valid = False

        def before_batch(self):
            whole.append(self.x.clone())

        def after_pred(self):
            parts.append(self.x.clone())

        def after_loss(self):
            label, other = (
                functional.cross_entropy(self.pred, y, label_smoothing=0.1, reduction="none")
                for y in (self.y, mixed.yb1[0])
            )
            expected = torch.lerp(other, label, mixed.lam).mean()
            apart.append(abs(self.loss - expected).detach().item())

    quiet_fit(new_learner(), 1, cbs=[mixed, Look()])
    assert any(not torch.equal(before, after) for before, after in zip(whole, parts, strict=True))
    assert max(apart) < 1e-5


def test_photos_are_not_mixed_unless_asked():
    assert mixing(0, 0) == []


def test_gradients_gather_before_a_step(new_learner, quiet_fit):
    every, third = Watch(), Watch()
    quiet_fit(new_learner(), 1, folder="every", cbs=[every])
    quiet_fit(new_learner(), 1, folder="third", cbs=[third, *accumulation(3, 8)])
    assert every.steps == len(every.rates)
    assert third.steps == len(every.rates) // 3


class Sure(torch.nn.Module):
    """Say the first label whatever it sees, and of classes of its own whether it's dark."""

    classes = 2

    def forward(self, photos):
        first = functional.one_hot(torch.zeros(len(photos), dtype=torch.long), 6) * 9.0
        dark = 20 * photos.as_subclass(torch.Tensor).mean((1, 2, 3))
        return first, torch.stack([dark, -dark], 1)


def test_a_teacher_pulls_the_answers_its_way(new_learner, quiet_fit):
    answers = {}
    for share in (0.0, 1.0):
        learn = new_learner()
        quiet_fit(learn, 2, 0.05, folder=str(share), cbs=[Teacher(Sure(), share)])
        with learn.no_bar(), learn.no_logging():
            answers[share] = learn.get_preds()[0][:, 0].mean()
    assert answers[1.0] > answers[0.0] + 0.2


def test_what_a_teacher_tells_apart_in_its_own_classes_is_learned_beside_the_head(
    new_learner, quiet_fit
):
    losses = {}
    for own in (0.0, 1.0):
        learn, teacher = new_learner(), Teacher(Sure(), 0.0, own)
        learn.unfreeze()
        before = state(learn)
        found = quiet_fit(learn, 20, 0.01, folder=str(own), cbs=[teacher])
        assert state(learn).keys() == before.keys()  # nothing of it is kept
        losses[own] = found.history["train_loss"].tolist()
    learn.model.load_state_dict(found.state["model"])  # that of the last epoch, as the layer is
    loader = learn.dls.test_dl(learn.dls.train.items, bs=len(learn.dls.train.items))
    (photos,) = loader.one_batch()
    with torch.no_grad():
        learn.model(photos)
        assert not learn.model[1][-1]._forward_pre_hooks
        read = learn.model[1][:-1](learn.model[0](photos)).as_subclass(torch.Tensor)
        told, truth = teacher.beside(read).argmax(1), Sure()(photos)[1].argmax(1)
    assert (told == truth).float().mean() > 0.7
    assert losses[1.0][-1] < losses[1.0][0]


def test_a_teacher_goes_on_where_a_run_was_stopped(new_learner, quiet_fit):
    def teacher():
        return Teacher(Sure(), 0.5, 0.5)

    torch.manual_seed(7)
    whole, expected = new_learner(), None
    expected = quiet_fit(whole, 3, folder="whole", cbs=[teacher()])
    stopped = new_learner()
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(stopped, 3, folder="stopped", cbs=[teacher(), PowerCut(1)])
    resumed = new_learner()
    found = quiet_fit(resumed, 3, folder="stopped", cbs=[teacher()])
    figures = ["train_loss", "valid_loss", "accuracy"]
    pd.testing.assert_frame_equal(found.history[figures], expected.history[figures])
    assert same(state(resumed), state(whole))


def test_an_epoch_is_the_same_whenever_it_is_run(new_learner):
    seen = []
    for done in (0, 3):
        learn, watch = new_learner(), Watch()
        with learn.no_bar(), learn.no_logging():
            learn.fit(4 - done, 0.0, cbs=[SeedEpochs(1, done), watch])
        seen.append(watch.inputs[-1])
    assert torch.equal(*seen)


def test_the_optimizers_step_differently(new_learner, quiet_fit):
    found = {}
    for name in ("adamw", "sgd"):
        learn = new_learner(optimizer=name)
        quiet_fit(learn, 1, folder=name)
        found[name] = state(learn)
        assert ("sqr_avg" in learn.opt.state_dict()["state"][-1]) == (name == "adamw")
    assert not same(found["adamw"], found["sgd"])


def test_batch_norm_keeps_still_or_learns_as_asked(new_learner, quiet_fit):
    moved = {}
    for how in ("frozen", "train"):
        learn = new_learner(batch_norm=how)
        before = state(learn)
        quiet_fit(learn, 1, folder=how)
        moved[how] = [n for n, t in state(learn).items() if not torch.equal(t, before[n])]
    statistics = {how: [n for n in names if n[0] == "0"] for how, names in moved.items()}
    assert statistics["frozen"] == []
    assert any("running_mean" in name for name in statistics["train"])


def test_memory_that_runs_out_names_the_batch_size_to_try(new_learner, quiet_fit):
    class Full(Callback):
        def before_batch(self):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(FitError, match=r"batch of 8 .*`batch_size: 4`.*`accumulation_steps: 2`"):
        quiet_fit(new_learner(), 1, cbs=[Full()])


def test_another_error_stays_what_it_is(new_learner, quiet_fit):
    class Odd(Callback):
        def before_batch(self):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else") as caught:
        quiet_fit(new_learner(), 1, cbs=[Odd()])
    assert not isinstance(caught.value, FitError)
