"""Trackers hear of each step, epoch, figure and file of a run, once, also if it was stopped."""

import io
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision.all import Callback
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fieldmark import plotting as plots
from fieldmark.run import Run
from fieldmark.training.fit import accumulation, fit
from fieldmark.training.learner import features, head_learner, layer_learning_rates
from fieldmark.training.tracking.callback import Tracking
from fieldmark.training.tracking.tensorboard import TensorBoard
from tests.conftest import ROOT

RECIPE = {"arch": "test_efficientnet", "rate": 0.01, "flip": True, "teacher": {}, "track": []}


class PowerCut(Callback):
    """End the process after some steps, as a power cut does."""

    order = 90
    run_valid = False

    def __init__(self, steps):
        self.left = steps

    def after_batch(self):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def drawn(tracking, name):
    """Draw a figure, keep it and tell of it, as the notebook does."""
    figure, ((axes,),) = plots.create_axes(2, 2)
    axes.plot([1, 2])
    saved = plots.save_figure(figure, tracking.out / "figures", name)
    assert tracking.figure(name, saved) is figure


@pytest.fixture
def follow(tmp_path, table, new_learner):
    """Return a function that fits head and network as the notebook does, and tells trackers."""

    def run_all(out="run", cut=0, cbs=(), track=("csv", "tensorboard"), finish=False):
        out, fits = tmp_path / out, {}
        learn = new_learner()
        tracking = Tracking(list(track), out, RECIPE)
        drawn(tracking, "early")
        run = Run(out).begin(RECIPE, table)
        tracking.start(run, fits)
        cuts = [PowerCut(cut)] if cut else []
        head = head_learner(learn, features(learn, learn.model[0].eval()))
        with learn.no_bar(), learn.no_logging(), head.no_bar(), head.no_logging():
            told = tracking.callbacks(learn)
            fits["frozen"] = fit(head, run, "frozen", 2, 0.01, cbs=told)
            learn.unfreeze()
            each = layer_learning_rates(learn, 0.01, 0.5)
            along = [*tracking.callbacks(learn), *cuts, *cbs]
            fits["fine-tuning"] = fit(learn, run, "fine-tuning", 3, each, cbs=along)
        drawn(tracking, "late")
        if finish:
            run.finish()
        return learn, tracking, fits

    return run_all


def read(out) -> EventAccumulator:
    """Read back all that TensorBoard would."""
    everything = dict.fromkeys(("scalars", "histograms", "images", "tensors"), 0)
    return EventAccumulator(str(out / "tensorboard"), size_guidance=everything).Reload()


def curve(events: EventAccumulator, tag: str) -> dict[int, float]:
    """Return a curve's values by step, none of which may be there twice."""
    points = events.Scalars(tag)
    found = {point.step: point.value for point in points}
    assert len(found) == len(points)
    return found


def test_tensorboard_gets_each_step_with_the_rate_of_every_group_and_each_epoch(follow, tmp_path):
    learn, _, fits = follow()
    events, (head, whole) = read(tmp_path / "run"), fits.values()
    steps = len(head.rates) + len(whole.rates)
    assert list(curve(events, "loss/step")) == list(range(1, steps + 1))
    for place, name in enumerate([*(f"stage_{n}" for n in range(len(learn.opt.hypers) - 1))]):
        told = list(curve(events, f"rate/{name}").values())
        assert told == pytest.approx(whole.rates[:, place])
    told = list(curve(events, "rate/head").values())
    assert told == pytest.approx([*head.rates[:, 0], *whole.rates[:, -1]])
    history = pd.concat([head.history, whole.history])
    ends = [*np.linspace(0, len(head.rates), 3)[1:], *np.linspace(len(head.rates), steps, 4)[1:]]
    columns = {"loss/train": "train_loss", "loss/valid": "valid_loss"}
    columns |= {"metrics/accuracy": "accuracy", "metrics/top_5": "top_5"}
    columns |= {"loss/log": "log_loss"}
    for tag, column in columns.items():
        told = curve(events, tag)
        assert list(told) == ends
        assert list(told.values()) == pytest.approx(history[column].tolist())


def test_tensorboard_gets_the_spread_of_weights_and_gradients_once_an_epoch(follow, tmp_path):
    learn, _, fits = follow()
    events, first = read(tmp_path / "run"), len(fits["frozen"].rates)
    each = len(fits["fine-tuning"].rates) // 3
    for name, parameter in learn.model.named_parameters():
        part = "head." if name.startswith("1.") else "body."
        tail = name.split(".", 1)[1].removeprefix("model.")
        for kind, at in (("weights", each), ("weights.grad", 1)):
            told = events.Histograms(f"{kind}/{part}{tail}")
            steps = [spread.step for spread in told]
            assert steps[-3:] == [first + at + epoch * each for epoch in range(3)]
            assert len(steps) == (5 if part == "head." else 3)  # of a frozen body, none
            assert told[-1].histogram_value.num == parameter.numel()
    assert events.Histograms("weights.grad/head.4.weight")[0].histogram_value.max > 0


def test_gathered_gradients_are_told_when_there_is_a_step(follow, tmp_path):
    _, _, fits = follow(cbs=accumulation(3, 8))
    steps = [each.step for each in read(tmp_path / "run").Histograms("weights.grad/head.4.weight")]
    first, each = len(fits["frozen"].rates), len(fits["fine-tuning"].rates) // 3
    assert steps[2] == first + 3
    assert [(step - first - 1) // each for step in steps[2:]] == [0, 1, 2]


def test_numbers_that_exploded_are_left_out_and_end_no_training(tmp_path):
    board = TensorBoard(tmp_path, RECIPE)
    board.histograms(1, {"weights/some": torch.tensor([1.0, 2.0, torch.nan, torch.inf])})
    board.histograms(1, {"weights/none": torch.full((3,), torch.nan)})
    board.end(1, {}, [])
    events = read(tmp_path)
    (some,) = events.Histograms("weights/some")
    assert (some.histogram_value.num, some.histogram_value.max) == (2, 2.0)
    assert events.Tags()["histograms"] == ["weights/some"]


def test_what_is_told_changes_nothing_in_what_is_learned(follow):
    followed, alone = follow("followed")[0], follow("alone", track=())[0]
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(tensor, followed.model.state_dict()[name])


def test_a_run_that_was_stopped_goes_on_at_the_right_step_in_every_tracker(follow, tmp_path):
    _, _, fits = follow("whole")
    each = len(fits["fine-tuning"].rates) // 3
    with pytest.raises(KeyboardInterrupt):
        follow("stopped", cut=2 * each - 1)  # of the second of three epochs
    stopped = pd.read_csv(tmp_path / "stopped/log.csv")
    assert stopped["epoch"].tolist() == [1, 2, 1]
    follow("stopped")
    whole, again = read(tmp_path / "whole"), read(tmp_path / "stopped")
    assert whole.Tags()["scalars"] == again.Tags()["scalars"]
    for tag in whole.Tags()["scalars"]:
        assert curve(again, tag) == pytest.approx(curve(whole, tag))
    for tag in whole.Tags()["histograms"]:
        assert [e.step for e in again.Histograms(tag)] == [e.step for e in whole.Histograms(tag)]
    tables = [pd.read_csv(tmp_path / f"{name}/log.csv") for name in ("whole", "stopped")]
    assert tables[0]["epoch"].tolist() == [1, 2, 1, 2, 3]
    pd.testing.assert_frame_equal(*(each.drop(columns="time") for each in tables))
    assert tables[1]["time"].tolist()[:3] == stopped["time"].tolist()  # not written later


@pytest.mark.parametrize("cut", [1, 0], ids=["in its first epoch", "after its last epoch"])
def test_figures_and_recipe_of_a_run_that_was_stopped_are_told_once(follow, tmp_path, cut):
    if cut:
        with pytest.raises(KeyboardInterrupt):
            follow(cut=cut)
    else:
        follow()
    _, tracking, fits = follow()
    events, steps = read(tmp_path / "run"), sum(len(fit.rates) for fit in fits.values())
    told = {name: [e.step for e in events.Images(f"pictures/{name}")] for name in ("early", "late")}
    assert told == {"early": [0], "late": [steps + 1]}
    assert len(events.Tensors("recipe/text_summary")) == 1
    assert len(events.Tensors("custom_scalars__config__")) == 1
    assert list(curve(events, "loss/step")) == list(range(1, steps + 1))
    assert tracking.step == steps  # of which the results are told


def test_the_table_says_of_each_epoch_what_the_history_does(follow, tmp_path):
    _, _, fits = follow(track=["csv"])
    table = pd.read_csv(tmp_path / "run/log.csv")
    history = pd.concat([each.history for each in fits.values()], ignore_index=True)
    both = ["stage", "epoch", "train_loss", "valid_loss", "accuracy", "top_5"]
    pd.testing.assert_frame_equal(table[both], history[both], rtol=1e-5)
    assert table["step"].iloc[-1] == sum(len(each.rates) for each in fits.values())
    assert table["rate"].tolist()[-1] == pytest.approx(fits["fine-tuning"].rates[-1, -1], rel=1e-5)


def test_an_epoch_that_was_told_but_not_kept_is_told_again(follow, tmp_path):
    class Between(Callback):
        """End the process when trackers know of an epoch, and the checkpoint doesn't yet."""

        order = 79

        def after_epoch(self):
            if self.epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(cbs=[Between()])
    assert pd.read_csv(tmp_path / "run/log.csv")["epoch"].tolist() == [1, 2, 1, 2]
    follow()
    assert pd.read_csv(tmp_path / "run/log.csv")["epoch"].tolist() == [1, 2, 1, 2, 3]


def test_a_new_run_forgets_what_trackers_kept_of_the_one_before(follow, tmp_path):
    follow(finish=True)
    follow(track=["tensorboard"])
    assert not (tmp_path / "run/log.csv").exists()
    curve(read(tmp_path / "run"), "loss/step")  # has no step twice


def test_figures_of_any_time_and_the_results_reach_tensorboard(tmp_path, table):
    tracking = Tracking(["tensorboard"], tmp_path, RECIPE)
    drawn(tracking, "early")
    tracking.start(Run(tmp_path).begin(RECIPE, table), {})
    tracking.begin("fine-tuning", 7)
    drawn(tracking, "late")
    tracking.end({"accuracy": {"value": 0.75, "interval": [0.5, 0.9], "n": 8}})
    events = read(tmp_path)
    for name in ("early", "late"):
        (picture,) = events.Images(f"pictures/{name}")
        kept = np.asarray(Image.open(tmp_path / f"figures/{name}.png").convert("RGB"))
        told = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
        assert np.array_equal(told, kept)
    assert list(curve(events, "results/accuracy").values()) == [0.75]
    started = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"arch" in started
    assert b"test_efficientnet" in started
    told = events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]
    assert b"    rate: 0.01" in told


def test_nothing_is_followed_unless_it_is_asked_for(tmp_path, table):
    tracking = Tracking([], tmp_path, RECIPE)
    assert tracking.callbacks(None) == []
    tracking.start(Run(tmp_path).begin(RECIPE, table), {})
    tracking.end({"accuracy": {"value": 1.0}})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


ALONE = """
    import json, os, psutil, random, socket, sys
    from pathlib import Path

    def gone(*to):
        with open("network.txt", "a") as file:
            file.write(f"{to}\\n")
        raise OSError("there is no network")

    socket.socket.connect = socket.getaddrinfo = gone
    sys.modules["fastai"] = None  # which ClearML would import, and that takes its time
    from fieldmark.training.tracking.clearml import ClearML, Task
    from fieldmark.errors import TrackingError

    recipe = json.loads(Path("recipe.json").read_text())
    out = Path("my-run")
    out.mkdir(exist_ok=True)
"""


def session(folder, lines, **settings):
    """Run lines with a tracker in a process without a network; ClearML patches the one it is in."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CLEARML")}
    own |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "CLEARML_CACHE_DIR": str(folder)}
    code = textwrap.dedent(ALONE) + textwrap.dedent(lines)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=own | settings,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "network.txt").exists(), (folder / "network.txt").read_text()
    return done.stdout


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Begin a run with ClearML, first without a server, then offline, and end its process."""
    folder = tmp_path_factory.mktemp("clearml")
    (folder / "recipe.json").write_text(json.dumps(RECIPE | {"teacher": {"arch": "resnet18"}}))
    lines = """
        try:
            ClearML(out, recipe)
        except TrackingError as error:
            print(error)
        Task.set_offline(True)
        random.seed(1)
        ClearML(out, recipe)
        assert random.random() == random.Random(1).random()  # it left the seed alone
        for process in psutil.Process().children():  # the one that reports
            process.kill()
        os._exit(0)
    """
    return folder, session(folder, lines)


def test_clearml_without_a_server_says_how_to_name_one(begun):
    assert "clearml-init" in begun[1]
    assert "CLEARML_OFFLINE_MODE=1" in begun[1]


def test_clearml_offline_keeps_all_of_a_run_that_was_stopped_and_sends_nothing(begun):
    folder = begun[0]
    Image.new("RGB", (8, 6), "red").save(folder / "confusion.png")
    (folder / "split.csv").write_text("path,label\n")
    (folder / "birds.onnx").write_bytes(b"a model")
    lines = """
        clearml = ClearML(out, recipe)
        clearml.begin(1)
        clearml.scalars(2, {"loss/step": 1.5, "loss/valid": 1.75})
        clearml.figure(2, Path("confusion.png"))
        clearml.end(2, {"accuracy": 0.75}, [Path("split.csv"), Path("birds.onnx")])
        assert Task.current_task() is None  # closed
    """
    session(folder, lines, CLEARML_OFFLINE_MODE="1")
    (kept,) = (path for path in (folder / "offline").iterdir() if path.is_dir())
    assert kept.with_suffix(".zip").is_file()
    task = json.loads((kept / "task.json").read_text())
    assert task["id"] == (folder / "my-run/clearml.txt").read_text()
    assert (task["project_name"], task["name"]) == ("Fieldmark", "my-run")
    parameters = {name: each["value"] for name, each in task["hyperparams"]["recipe"].items()}
    assert parameters["rate"] == "0.01"
    assert parameters["teacher/arch"] == "resnet18"
    events = [json.loads(line) for line in (kept / "metrics.jsonl").read_text().splitlines()]
    events = [event for batch in events for event in batch]
    scalars = {(e["metric"], e["variant"], e["iter"]): e["value"] for e in events if "value" in e}
    assert scalars["loss", "step", 2] == 1.5
    assert scalars["loss", "valid", 2] == 1.75
    assert [value for (_, name, _), value in scalars.items() if name == "accuracy"] == [0.75]
    (picture,) = (event for event in events if event["variant"] == "confusion")
    assert list(kept.rglob(picture["url"].rsplit("/", 1)[-1]))
    assert [artefact["key"] for artefact in task["execution"]["artifacts"]] == ["split.csv"]
    (model,) = task["offline_output_models"]
    assert model["init"]["framework"] == "ONNX"
    assert (kept / "models/birds.onnx").read_bytes() == b"a model"
    assert (folder / "birds.onnx").is_file()
