"""What ends `fieldmark train` is one sentence: what is wrong, where, and what to do."""

import errno
import os
import signal

import papermill
import pytest
import typer
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from commands import train as command
from commands.notebook import interrupted_by_signals
from commands.train import run_notebook
from fieldmark.errors import (
    DatasetError,
    DiskError,
    InterruptedTrainingError,
    TrainingError,
)
from fieldmark.recipe import Recipe
from fieldmark.run import Run, lock_run


def cell_error(name: str, message: str) -> PapermillExecutionError:
    return PapermillExecutionError(1, 1, "x", name, message, [])


FAULTS = {  # what papermill raises -> what the command raises
    "a cell's sentence": (cell_error("DatasetError", "No photos."), DatasetError, r"^No photos\.$"),
    "a full disk in a cell": (
        cell_error("OSError", "[Errno 28] No space left on device: '/nowhere/a.png'"),
        DiskError,
        r"/nowhere/a\.png cannot be written: the disk is full\. .* free\. Delete .* last complete",
    ),
    "a full disk in torch": (
        cell_error("RuntimeError", "[enforce fail at inline_container.cc:671] . unexpected pos"),
        DiskError,
        r"runs/x cannot be written: the disk is full",
    ),
    "a full disk in safetensors": (
        cell_error("SafetensorError", "I/O error: No space left on device (os error 28)"),
        DiskError,
        r"runs/x cannot be written: the disk is full",
    ),
    "a deleted photo": (
        cell_error("FileNotFoundError", "[Errno 2] No such file or directory: '/birds/a.jpg'"),
        DiskError,
        r"/birds/a\.jpg is missing",
    ),
    "a forbidden folder": (
        cell_error("PermissionError", "[Errno 13] Permission denied: '/birds'"),
        DiskError,
        r"/birds cannot be opened or written: permission denied\. Give your user the right",
    ),
    "a full disk under the notebook": (
        OSError(errno.ENOSPC, "No space left on device", "/home/kernel.json"),
        DiskError,
        r"/home/kernel\.json cannot be written: the disk is full",
    ),
    "a read-only disk": (
        OSError(errno.EROFS, "Read-only file system", "/runs"),
        DiskError,
        r"/runs cannot be written: the file system is read-only\. Mount it writable",
    ),
    "a killed kernel": (
        DeadKernelError("Kernel died"),
        TrainingError,
        r"runs/x was killed",
    ),
    "Ctrl-C": (
        KeyboardInterrupt(),
        InterruptedTrainingError,
        r"interrupted\. Start",
    ),
    "a bug": (cell_error("ZeroDivisionError", "division by zero"), typer.Exit, None),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return the folder of a finished run, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "check_inputs", lambda _: None)
    path = tmp_path / "runs/x"
    path.mkdir(parents=True)
    for name in ("birds.onnx", "train.ipynb"):
        (path / name).write_text("old")
    return path


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_sentence_and_leaves_the_finished_run(folder, monkeypatch, fault, capsys):
    raised, error, message = FAULTS[fault]

    def fail(_, output, **options):
        papermill.iorw.papermill_io.write("{}", output)  # as papermill saves after each cell
        raise raised

    monkeypatch.setattr(papermill, "execute_notebook", fail)
    with pytest.raises(error, match=message):
        run_notebook(Recipe(), folder.relative_to(folder.parent.parent))
    assert (folder / "train.ipynb").read_text() == (folder / "birds.onnx").read_text() == "old"
    assert (folder / "unfinished/train.ipynb").read_text() == "{}"
    assert ("unfinished/train.ipynb" in capsys.readouterr().err) == (fault == "a bug")
    lock_run(folder).release()  # the folder is free again


def test_the_executed_notebook_moves_with_the_finished_run(folder, monkeypatch):
    monkeypatch.setattr(Run, "check_complete", lambda _: None)

    def execute(_, output, **options):
        run = Run.create(folder)
        for content, finishes in (("half", False), ("all but the end", True), ("all", False)):
            papermill.iorw.papermill_io.write(content, output)
            if finishes:
                run.finish()
                lock_run(folder)  # `finish` ended the lock of this process
                assert (folder / "train.ipynb").read_text() == content

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    run_notebook(Recipe(), folder)
    assert (folder / "train.ipynb").read_text() == "all"
    assert not (folder / "unfinished").exists()
    assert not (folder / "birds.onnx").exists()  # the new run has none


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_training_as_ctrl_c_does(name, default_signals):
    number = signal.Signals[name]
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before
    ignored = signal.signal(number, signal.SIG_IGN)  # as nohup does
    with interrupted_by_signals():
        os.kill(os.getpid(), number)
    signal.signal(number, ignored)


def test_a_run_folder_that_is_a_file_is_reported(folder):
    (folder.parent / "file").write_text("")
    with pytest.raises(DiskError, match=r"runs/file is a file, not a folder\. Move it away"):
        run_notebook(Recipe(), folder.parent / "file")


def test_a_disk_that_is_full_is_reported_before_the_notebook_runs(folder, monkeypatch):
    monkeypatch.setattr(papermill, "execute_notebook", None)  # calling it would fail

    def fail(*_, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(folder), "write_text", fail)
    with pytest.raises(DiskError, match=r"runs/x/\.lock cannot be written: the disk is full"):
        run_notebook(Recipe(), folder)
