"""Processes that train together do what one process does, and only the first writes the run."""

import multiprocessing
import random
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml

from commands.processes import find_free_port
from fieldmark.checkpoints import epoch_of, list_checkpoints
from fieldmark.data.locations import draw_birds
from fieldmark.errors import LostProcessError, TrainingError
from fieldmark.ranks import read_ranks
from fieldmark.run import Run
from fieldmark.statistics import mcnemar_test
from tests.command_line import run_command
from tests.conftest import ARCH, ROOT
from tests.training.process_fits import fit

EPOCHS = 8


def fit_in_processes(count: int, *arguments, **options) -> list[dict]:
    """Fit in so many processes, and return what each returns."""
    port = find_free_port()
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(fit, rank, count, port, *arguments, **options) for rank in range(count)]
        return [job.result(timeout=300) for job in jobs]


@pytest.mark.slow
def test_two_processes_get_the_weights_of_one(table, folder, weights, tmp_path):
    arguments = (table, folder, weights, tmp_path)
    (alone,), (first, second) = (fit_in_processes(count, *arguments) for count in (1, 2))
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name])
        torch.testing.assert_close(tensor, alone["weights"][name], rtol=0.02, atol=0.02)
    expected = alone["history"][["train_loss", "log_loss", "accuracy"]]
    for process in (first, second):
        history = process["history"][expected.columns]
        pd.testing.assert_frame_equal(history, expected, rtol=0.02)
    assert alone["embeddings"] == pytest.approx(first["embeddings"], abs=1e-4)
    assert np.array_equal(first["embeddings"], second["embeddings"])
    assert len(first["files"]) == 4  # the folder, two checkpoints and history.csv
    assert second["files"] == []


@pytest.mark.slow
def test_processes_that_cannot_share_a_batch_are_refused(table, folder, weights, tmp_path):
    with pytest.raises((TrainingError, LostProcessError), match=r"`batch_size: 10`"):
        fit_in_processes(2, table, folder, weights, tmp_path, batch_size=9)


@pytest.mark.parametrize(
    ("values", "message"),
    [(("2", "0", "2"), "RANK=2"), (("0", "3", "2"), "LOCAL_RANK=3"), (("a", "0", "2"), "numbers")],
)
def test_contradicting_ranks_are_reported(values, message):
    variables = dict(zip(("RANK", "LOCAL_RANK", "WORLD_SIZE"), values, strict=True))
    with pytest.raises(TrainingError, match=message):
        read_ranks(variables)


@pytest.mark.parametrize("command", ["train-finder", "cross-validate"])
def test_other_commands_are_not_started_in_several_processes(command):
    result = run_command(command, "x.yaml", RANK="0", LOCAL_RANK="0", WORLD_SIZE="2")
    assert result.exit_code == 2
    assert f"`fieldmark {command}`" in result.stderr


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, finder_file):
    """Return a folder with a recipe and its photos, and make it the working directory."""
    path = tmp_path_factory.mktemp("workspace")
    values = {"photos": str(draw_birds(path / "birds", count=24)), "arch": ARCH, "size": 32}
    values |= {"batch_size": 16, "frozen_epochs": 1, "epochs": EPOCHS, "calibration_share": 0.4}
    values |= {"weights_dtype": "fp32", "learning_rate": 0.01}
    (path / "birds.yaml").write_text(yaml.safe_dump(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'azure_function'}")
        patch.setenv("FIELDMARK_FINDER", str(finder_file))
        patch.setenv("TMPDIR", str(path / "scratch"))
        (path / "scratch").mkdir()
        yield path


def start(*options: str) -> psutil.Popen:
    """Start `fieldmark train` as a process."""
    command = [sys.executable, "-m", "commands", "train", "birds.yaml", *options]
    return psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def find_process(launcher: psutil.Popen, rank: int) -> psutil.Process:
    """Return one of the processes that a launcher has started."""
    return next(p for p in launcher.children() if p.environ().get("RANK") == str(rank))


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_run_resumes_as_accurate_as_with_one(workspace):
    command = ("--processes", "2", "--name", "two")
    folder, launcher, last = Path("runs/two"), start(*command), random.randint(1, 3)
    checkpoints = folder / "unfinished/checkpoints"
    while launcher.is_running() and not any(
        epoch_of(file) >= last for file in list_checkpoints(checkpoints, "fine-tuning")
    ):
        time.sleep(0.02)
    started = launcher.children(recursive=True)
    find_process(launcher, 1).kill()
    _, errors = launcher.communicate(timeout=120)
    assert launcher.returncode == 2
    assert "Process 1 of 2 failed" in errors
    assert "SIGKILL" in errors
    assert not [process for process in started if process.is_running()]
    resumed = start(*command)
    output, errors = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, errors
    assert "Resuming an interrupted run" in output
    run = Run(folder)
    run.check_complete()
    assert run.history.query("phase == 'fine-tuning'")["epoch"].tolist() == [*range(1, EPOCHS + 1)]
    files = {*run.model_files, *run.result_files, run.notebook_file, run.figures}
    assert set(folder.iterdir()) == {*files, folder / ".lock"}  # nothing of the other process
    alone = start("--name", "one")
    _, errors = alone.communicate(timeout=600)
    assert alone.returncode == 0, errors
    others = {"cache", "models"}  # decoded photos, and where lr_find keeps weights
    assert {path.name for path in Path("runs").iterdir()} - others == {"one", "two"}
    compare_accuracy(run, Run("runs/one"))


def compare_accuracy(first: Run, second: Run) -> None:
    """Assert by McNemar's exact test, p > 0.001, that two runs are equally accurate."""
    right = [
        (run.predictions["label"] == run.predictions["predicted"]).set_axis(run.predictions["path"])
        for run in (first, second)
    ]
    one, two = right[0].align(right[1], join="inner")
    assert len(one) == len(right[0]) > 50
    assert min(one.mean(), two.mean()) > 0.4  # by chance it would be 1/6
    only_one, only_two = int((one & ~two).sum()), int((two & ~one).sum())
    assert mcnemar_test(only_one, only_two) > 0.001
