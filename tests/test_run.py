"""A run keeps its files, resumes after an interruption, and names nobody's machine."""

import errno
import getpass
import json
import platform
import random
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError

import pandas as pd
import pytest
import torch

from fieldmark import environment
from fieldmark.errors import DiskError, RunError
from fieldmark.run import Run

SPLIT = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": ["jay", "crow"], "split": "train"})


def begin(folder, split=SPLIT, **training_keys) -> Run:
    return Run(folder).begin(training_keys, split)


def write_checkpoint(run: Run, epoch: int = 1) -> dict:
    state = {"history": [{"seconds": 2.0}] * epoch, "weights": torch.arange(5000.0)}
    run.save_checkpoint("frozen", epoch, state)
    return state


def test_the_environment_names_versions_and_not_whose_machine_it_is():
    found = environment.describe_environment()
    assert found["packages"]["torch"] == version("torch")
    assert found["python"] == platform.python_version()
    text = json.dumps({key: value for key, value in found.items() if key != "packages"})
    for private in (platform.node(), getpass.getuser(), str(Path.home()), str(Path.cwd())):
        assert private not in text.split('"')
        assert f"{private}/" not in text


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.current_commit() is None


def test_an_interrupted_run_of_the_same_recipe_and_split_is_resumed(tmp_path):
    state = write_checkpoint(begin(tmp_path, seed=1))
    run = begin(tmp_path, seed=1)
    assert (run.resumes, run.progress, run.earlier_seconds) == (True, ["frozen, epoch 1"], 2.0)
    assert run.take_checkpoint("frozen")["history"] == state["history"]
    assert run.take_checkpoint("frozen") is None  # fitted again in the same session


@pytest.mark.parametrize(
    "again", [{"seed": 2}, {"seed": 1, "split": SPLIT.assign(split="test")}], ids=["keys", "split"]
)
def test_another_recipe_or_split_starts_from_the_beginning(tmp_path, again):
    first = begin(tmp_path, seed=1)
    write_checkpoint(first)
    first.snapshots.mkdir()
    (first.snapshots / "1.safetensors").touch()
    run = begin(tmp_path, **again)
    assert not run.resumes
    assert run.take_checkpoint("frozen") is None
    assert not list(tmp_path.rglob("*.*"))


def flip_bytes(file: Path, number: int = 20) -> None:
    content = bytearray(file.read_bytes())
    for position in random.Random(0).sample(range(len(content)), number):
        content[position] ^= 0x55
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [flip_bytes, lambda file: file.write_bytes(file.read_bytes()[:1000]), Path.touch, Path.unlink],
    ids=["flipped", "truncated", "intact", "lost"],
)
def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_is_used(tmp_path, capsys, damage):
    run = begin(tmp_path, seed=1)
    for epoch in (1, 2, 3):
        state = write_checkpoint(run, epoch)
    before, latest = sorted(run.checkpoints.iterdir())  # the first is gone
    damage(latest)
    intact = damage is Path.touch
    run = begin(tmp_path, seed=1)
    assert run.progress == ["frozen, epoch 3" if intact else "frozen, epoch 2"]
    assert torch.equal(run.take_checkpoint("frozen")["weights"], state["weights"])
    reported = f"{latest} is damaged" in capsys.readouterr().out
    assert reported == (damage not in (Path.touch, Path.unlink))
    flip_bytes(before)
    if not intact:
        assert not begin(tmp_path, seed=1).resumes
        assert "is damaged" in capsys.readouterr().out
        assert before.with_name(f"{before.name}.damaged").is_file()  # nothing is deleted


def fail(error):
    def load(*_, **__):
        raise error

    return load


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (MemoryError(), MemoryError),
        (OSError(errno.EMFILE, "Too many open files"), OSError),
        (OSError(errno.EIO, "Input/output error"), DiskError),
        (UnpicklingError("Unsupported class"), RunError),
    ],
)
def test_a_checkpoint_that_is_not_damaged_stays(tmp_path, monkeypatch, raised, expected):
    run = begin(tmp_path, seed=1)
    write_checkpoint(run)
    (run.checkpoints / "frozen.pt").touch()  # of an earlier version
    files = set(run.checkpoints.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", fail(raised))
        with pytest.raises(expected):
            begin(tmp_path, seed=1)
    assert set(run.checkpoints.iterdir()) == files
    assert begin(tmp_path, seed=1).resumes


def test_a_new_run_publishes_nothing_that_another_recipe_left(tmp_path):
    abandoned = Run.create(tmp_path).begin({"seed": 1}, SPLIT)
    write_checkpoint(abandoned)
    abandoned.figures.mkdir()
    for file in (abandoned.competition_file, abandoned.figures / "a.png", abandoned.notebook_file):
        file.write_text("old")
    abandoned.release()
    run = Run.create(tmp_path)
    assert [path for path in run.products if path.exists()] == []
    assert run.begin({"seed": 1}, SPLIT).resumes
    run.release()


def test_a_phase_that_is_fitted_again_forgets_its_later_epochs(tmp_path):
    run = begin(tmp_path, seed=1)
    for epoch in (1, 2, 3, 1):
        write_checkpoint(run, epoch)
    assert begin(tmp_path, seed=1).progress == ["frozen, epoch 1"]


def test_a_new_run_replaces_the_files_of_a_finished_one_when_it_is_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "check_complete", lambda _: None)
    (tmp_path / "figures").mkdir()
    for name in ("birds.onnx", "competition.csv", "figures/old.png", "notes.txt"):
        (tmp_path / name).write_text("old")
    run = Run.create(tmp_path).begin({"seed": 1}, SPLIT)
    write_checkpoint(run)
    run.figures.mkdir()
    for file in (run.model_file, run.metrics_file, run.figures / "new.png"):
        file.write_text("new")
    assert (tmp_path / "birds.onnx").read_text() == "old"
    run.finish()
    contents = {path.name: path.read_text() for path in tmp_path.rglob("*.*") if path.suffix}
    assert contents == {
        **dict.fromkeys(("birds.onnx", "metrics.json", "new.png"), "new"),
        "notes.txt": "old",
    }
    again = Run.create(tmp_path).begin({"seed": 1}, SPLIT)
    assert not again.resumes  # the run was finished
    again.release()


def test_a_new_run_whose_files_contradict_each_other_replaces_nothing(tmp_path):
    (tmp_path / "birds.onnx").write_text("old")
    run = Run.create(tmp_path)
    run.model_file.write_text("new")
    with pytest.raises(RunError, match=r"has no birds\.safetensors"):
        run.finish()
    run.release()
    assert (tmp_path / "birds.onnx").read_text() == "old"


def test_the_history_of_an_interrupted_run_continues(tmp_path):
    state = write_checkpoint(begin(tmp_path, seed=1))
    run = begin(tmp_path, seed=1)
    for epoch in (1, 2):
        run.record_epochs("fine-tuning", [{"seconds": float(number)} for number in range(epoch)])
    assert Run(tmp_path).history["seconds"].tolist() == [state["history"][0]["seconds"], 0, 1]


def test_the_kept_epoch_is_that_of_the_lowest_loss_in_the_last_phase(tmp_path):
    history = pd.DataFrame(
        {
            "phase": ["frozen", *["fine-tuning"] * 3],
            "epoch": [1, 1, 2, 3],
            "log_loss": [0.1, 0.5, 0.3, 0.4],
        }
    )
    training = Run(tmp_path).describe_training(history)
    assert training["kept_epoch"] == {"phase": "fine-tuning", "epoch": 2}
    assert training["epochs"] == 4


def test_tables_are_read_as_they_were_written(tmp_path):
    predictions = pd.DataFrame(
        {"path": ["a.jpg"], "label": ["NA"], "predicted": ["NA"], "loss": [1 / 3]}
    )
    history = pd.DataFrame({"phase": ["frozen"], "epoch": [1], "seconds": [0.5]})
    Run(tmp_path).write_results(history, predictions, pd.DataFrame({"n": [1]}), {"accuracy": 1})
    run = Run(tmp_path)
    assert run.predictions.iloc[0].tolist() == ["a.jpg", "NA", "NA", "0.333333"]
    pd.testing.assert_frame_equal(run.history, history)
    assert run.metrics == {"accuracy": 1}
    assert run.environment["python"]


def test_the_card_is_that_of_the_weights(run, new_learner):
    found = Run(run)
    assert found.card["name"] == "tiny"
    assert found.num_parameters == sum(p.numel() for p in new_learner().model.parameters())


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_a_folder_without_weights_of_a_run_has_no_card(tmp_path, content):
    if content:
        (tmp_path / "birds.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"birds\.safetensors"):
        _ = Run(tmp_path).card


@pytest.mark.parametrize("name", ["recipe", "split", "predictions", "history", "metrics"])
def test_a_damaged_file_of_a_run_is_named(tmp_path, name):
    run = Run(tmp_path)
    file = getattr(run, f"{name}_file")
    file.write_bytes(b'{"a": \xff\n"b\n, ]')
    with pytest.raises(RunError, match=rf"{file.name} is damaged"):
        getattr(run, name)
