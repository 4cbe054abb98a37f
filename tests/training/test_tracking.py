"""Trackers log each step, epoch, figure and file of a run once, interrupted or not."""

import io
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from commands.train import check_inputs
from fieldmark.errors import TrackingError
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from fieldmark.training.fit import accumulation_callbacks
from fieldmark.training.tracking import tracking as tracking_module
from fieldmark.training.tracking.tensorboard import TensorBoard
from fieldmark.training.tracking.tracker import Tracker
from fieldmark.training.tracking.tracking import Tracking, TrackingWarning
from tests.conftest import ROOT
from tests.tracked_runs import (
    RECIPE,
    PowerCutAtStep,
    PowerCutBeforeCheckpoint,
    log_plot,
    read_curve,
    read_events,
    train_tracked,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def train(table, folder, settings, weights):
    """Return a function that trains in two phases as the notebook does."""
    return partial(train_tracked, table, folder, settings, weights)


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """Train an uninterrupted run: its folder, and what `train` returns."""
    out = tmp_path_factory.mktemp("whole")
    return out, *train(out)


def test_tensorboard_gets_each_step_and_each_epoch(whole):
    out, learn, _, checkpoints = whole
    events, (frozen, tuned) = read_events(out), checkpoints.values()
    first = len(frozen.learning_rates)
    steps = first + len(tuned.learning_rates)
    assert list(read_curve(events, "loss/step")) == list(range(1, steps + 1))
    for group in range(len(learn.opt.hypers) - 1):
        rates = list(read_curve(events, f"rate/layer_group_{group}").values())
        assert rates == pytest.approx(tuned.learning_rates[:, group])
    rates = list(read_curve(events, "rate/head").values())
    assert rates == pytest.approx([*frozen.learning_rates[:, 0], *tuned.learning_rates[:, -1]])
    history = pd.concat([frozen.history, tuned.history])
    ends = [*np.linspace(0, first, 3)[1:], *np.linspace(first, steps, 4)[1:]]
    columns = {"loss/train": "train_loss", "loss/valid": "valid_loss", "loss/log": "log_loss"}
    columns |= {"metrics/accuracy": "accuracy", "metrics/top_5": "top_5"}
    for tag, column in columns.items():
        curve = read_curve(events, tag)
        assert list(curve) == ends
        assert list(curve.values()) == pytest.approx(history[column].tolist())


def test_tensorboard_gets_histograms_of_weights_and_gradients_once_an_epoch(whole):
    out, learn, _, checkpoints = whole
    events, first = read_events(out), len(checkpoints["frozen"].learning_rates)
    per_epoch = len(checkpoints["fine-tuning"].learning_rates) // 3
    for name, parameter in learn.model.named_parameters():
        part = "head" if name.startswith("1.") else "backbone"
        rest = name.split(".", 1)[1].removeprefix("model.")
        for kind, at in (("weights", per_epoch), ("weights.grad", 1)):
            histograms = events.Histograms(f"{kind}/{part}.{rest}")
            steps = [histogram.step for histogram in histograms]
            assert steps[-3:] == [first + at + epoch * per_epoch for epoch in range(3)]
            assert len(steps) == (5 if part == "head" else 3)  # none of a frozen backbone
            assert histograms[-1].histogram_value.num == parameter.numel()
    assert events.Histograms("weights.grad/head.4.weight")[0].histogram_value.max > 0


def test_accumulated_gradients_are_logged_at_an_optimizer_step(train, tmp_path):
    _, _, checkpoints = train(tmp_path, cbs=accumulation_callbacks(3, 8))
    histograms = read_events(tmp_path).Histograms("weights.grad/head.4.weight")
    first = len(checkpoints["frozen"].learning_rates)
    per_epoch = len(checkpoints["fine-tuning"].learning_rates) // 3
    steps = [histogram.step for histogram in histograms][2:]
    assert steps[0] == first + 3
    assert [(step - first - 1) // per_epoch for step in steps] == [0, 1, 2]


def test_values_that_are_not_finite_are_left_out(tmp_path):
    run = Run(tmp_path)
    board = TensorBoard(run, RECIPE)
    board.log_histograms(1, {"weights/some": torch.tensor([1.0, 2.0, torch.nan, torch.inf])})
    board.log_histograms(1, {"weights/none": torch.full((3,), torch.nan)})
    board.finish(1, {}, [])
    events = read_events(tmp_path)
    (some,) = events.Histograms("weights/some")
    assert (some.histogram_value.num, some.histogram_value.max) == (2, 2.0)
    assert events.Tags()["histograms"] == ["weights/some"]


def test_tracking_does_not_change_the_training(whole, train, tmp_path):
    untracked = train(tmp_path, track=())[0].model.state_dict()
    for name, tensor in whole[1].model.state_dict().items():
        assert torch.equal(tensor, untracked[name])


@pytest.mark.parametrize(
    "cut", [PowerCutAtStep(1), PowerCutAtStep(8), PowerCutBeforeCheckpoint(), None]
)
def test_a_resumed_run_logs_every_step_and_figure_once(whole, train, tmp_path, cut):
    if cut:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, cbs=[cut])
    else:
        train(tmp_path)  # interrupted after its last epoch
    _, tracking, _ = train(tmp_path)
    expected, events = read_events(whole[0]), read_events(tmp_path)
    assert events.Tags()["scalars"] == expected.Tags()["scalars"]
    for tag in expected.Tags()["scalars"]:
        assert read_curve(events, tag) == pytest.approx(read_curve(expected, tag))
    for tag in expected.Tags()["histograms"]:
        steps = [[h.step for h in each.Histograms(tag)] for each in (events, expected)]
        assert steps[0] == steps[1]
    last = max(read_curve(expected, "loss/step"))
    for name, step in (("early", 0), ("late", last + 1)):
        assert [image.step for image in events.Images(f"pictures/{name}")] == [step]
    assert len(events.Tensors("recipe/text_summary")) == 1
    assert len(events.Tensors("custom_scalars__config__")) == 1
    assert tracking.step == last


class FailingTracker(Tracker):
    """A tracker whose server is gone after the start."""

    def __init__(self, *_):
        self.calls = []

    def log_scalars(self, step, values):
        self.calls.append("log_scalars")
        raise ConnectionError("the server is gone")

    def flush(self):
        self.calls.append("flush")
        raise ConnectionError("the server is gone")

    def finish(self, step, metrics, files):
        raise ConnectionError("the server is gone")


def test_a_tracker_that_fails_warns_once_of_each_loss_and_training_goes_on(
    whole, train, tmp_path, monkeypatch
):
    opened = tracking_module.open_tracker
    failing = FailingTracker()
    choices = {"failing": lambda *_: failing, "tensorboard": partial(opened, "tensorboard")}
    monkeypatch.setattr(
        tracking_module, "open_tracker", lambda name, *arguments: choices[name](*arguments)
    )
    with pytest.warns(TrackingWarning) as during:
        learn, tracking, _ = train(tmp_path, track=["failing", "tensorboard"])
    with pytest.warns(TrackingWarning) as after:
        tracking.finish({"accuracy": {"value": 0.5}})
    messages = [str(warning.message) for warning in (*during, *after)]
    for message, lost in zip(messages, ("lacks points", "does not", "lacks metrics"), strict=True):
        assert message.startswith(f"FailingTracker {lost}")
        assert "the server is gone" in message
    assert failing.calls.count("flush") == 5  # tried again at each epoch
    for name, tensor in whole[1].model.state_dict().items():
        assert torch.equal(tensor, learn.model.state_dict()[name])
    expected = read_curve(read_events(whole[0]), "loss/step")
    assert read_curve(read_events(tmp_path), "loss/step") == expected  # the other tracker's


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (None, r"`track`: .*needs a server.*`mlflow server`.*MLFLOW_TRACKING_URI"),
        ("http://127.0.0.1:9", r"`track`: .*http://127\.0\.0\.1:9 cannot be used.*`mlflow server`"),
        ("https://me:secret@birds.example", "MLFLOW_TRACKING_PASSWORD"),
        ("https://birds.example/?token=secret", "MLFLOW_TRACKING_TOKEN"),
        ("http://[::1", "is not an address"),
    ],
)
def test_training_does_not_start_without_a_server_of_mlflow(monkeypatch, address, message):
    monkeypatch.setattr("fieldmark.network.weights.fetch_weights", None)  # not before this check
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    recipe = Recipe.load(ROOT / "recipes/quick.yaml", {"track": "[mlflow]"})
    with pytest.raises(TrackingError, match=message) as caught:
        check_inputs(recipe)
    assert "secret" not in str(caught.value)


def test_a_new_run_removes_what_trackers_logged_of_the_one_before(tmp_path, table):
    for _ in range(2):
        run = Run(tmp_path).begin(RECIPE, table)
        tracking = Tracking(["tensorboard"], run, RECIPE)
        tracking.start({})
        tracking.log("log_scalars", 1, {"loss/step": 1.0})
        tracking.finish({})
    assert read_curve(read_events(tmp_path), "loss/step") == {1: 1.0}


def test_figures_and_results_reach_tensorboard(tmp_path, table):
    tracking = Tracking(["tensorboard"], Run(tmp_path).begin(RECIPE, table), RECIPE)
    log_plot(tracking, "early")
    tracking.start({})
    tracking.resume("fine-tuning", 7)
    log_plot(tracking, "late")
    tracking.finish({"accuracy": {"value": 0.75, "interval": [0.5, 0.9], "n": 8}})
    events = read_events(tmp_path)
    for name in ("early", "late"):
        (image,) = events.Images(f"pictures/{name}")
        saved = np.asarray(Image.open(tmp_path / f"figures/{name}.png").convert("RGB"))
        logged = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
        assert np.array_equal(logged, saved)
    assert list(read_curve(events, "results/accuracy").values()) == [0.75]
    started = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"test_efficientnet" in started
    text = events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]
    assert b"    learning_rate: 0.01" in text


def test_nothing_is_logged_without_a_tracker(tmp_path, table):
    tracking = Tracking([], Run(tmp_path).begin(RECIPE, table), RECIPE)
    assert tracking.callbacks(None) == []
    tracking.start({})
    tracking.finish({"accuracy": {"value": 1.0}})
    assert not list(tmp_path.iterdir())
