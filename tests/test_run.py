"""A run keeps its files, resumes after an interruption, and names nobody's machine."""

import getpass
import json
import platform
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch

from fieldmark import environment
from fieldmark.errors import RunError
from fieldmark.run import Run

SPLIT = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": ["jay", "crow"], "split": "train"})


def begin(folder, split=SPLIT, **training_keys) -> Run:
    return Run(folder).begin(training_keys, split)


def write_checkpoint(run: Run, seconds: float = 2.0) -> dict:
    state = {"history": [{"seconds": seconds}]}
    torch.save(state, run.checkpoint_file("frozen"))
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
    assert run.take_checkpoint("frozen") == state
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
    assert not [*run.checkpoints.glob("*.pt"), *run.snapshots.iterdir()]


def test_a_finished_run_starts_from_the_beginning(tmp_path):
    run = begin(tmp_path, seed=1)
    write_checkpoint(run)
    run.finish()
    assert begin(tmp_path, seed=1).take_checkpoint("frozen") is None


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
