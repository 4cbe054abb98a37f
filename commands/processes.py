"""Train in several processes: start them on this machine, and end them together."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fieldmark.errors import InterruptedTrainingError, LostProcessError, TrainingError

if TYPE_CHECKING:
    from fieldmark.recipe import Recipe

TRAINED = "trained"  # tag of the last cell that all processes run
POLL = 0.2  # seconds
GRACE = 10.0  # seconds in which the other processes end by themselves after one failed
SHOWN = 2000  # characters of a process's error


def train_in_processes(count: int, arguments: list[str]) -> None:
    """Run `fieldmark train` with `arguments` in processes that share every batch.

    What the first prints is shown. Raises TrainingError with the error of another process,
    typer.Exit after an error of the first, which has printed it, and InterruptedTrainingError.
    """
    from commands.notebook import interrupted_by_signals

    port = find_free_port()
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fieldmark-")))
        processes: list[subprocess.Popen] = []
        stack.callback(stop, processes)
        try:
            with interrupted_by_signals():
                for rank in range(count):
                    log = logs / f"{rank}.txt"
                    processes.append(start_process(rank, count, port, arguments, log))
                wait(processes)
        except KeyboardInterrupt as error:
            raise InterruptedTrainingError(
                "Training was interrupted. Start the same command again. An interrupted training "
                "continues after its last complete epoch."
            ) from error
        report_failure([process.poll() for process in processes], logs)


def start_process(
    rank: int, count: int, port: int, arguments: list[str], log: Path
) -> subprocess.Popen:
    """Start one process; the errors of all but the first go into `log`."""
    from birds.process import cpu_count

    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    threads = {"OMP_NUM_THREADS": str(max(1, cpu_count() // count))}
    environment = threads | os.environ | {name: str(value) for name, value in variables.items()}
    command = [sys.executable, "-m", "commands", "train", *arguments]
    if not rank:
        return subprocess.Popen(command, env=environment)  # noqa: S603
    with log.open("wb") as errors:
        return subprocess.Popen(  # noqa: S603
            command, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )


def find_free_port() -> int:
    """Return a port of this computer that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(processes: list[subprocess.Popen]) -> None:
    """Wait until all processes ended, or one failed and the others had time to end too."""
    deadline = float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        if any(process.returncode for process in processes):
            deadline = min(deadline, time.monotonic() + GRACE)
        time.sleep(POLL)


def stop(processes: list[subprocess.Popen]) -> None:
    """End the processes that still run, with their notebooks' kernels."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def report_failure(statuses: list[int | None], logs: Path) -> None:
    """Raise the error of the process whose own failure ended the training, if one failed.

    A status of None is that of a process that is still running.
    """
    lost = LostProcessError.exit_status
    failed = [rank for rank, status in enumerate(statuses) if status]
    own = [rank for rank in failed if statuses[rank] != lost] or failed
    if not failed:
        return
    if own[0] == 0:
        status = statuses[0] or 1
        raise typer.Exit(status if status > 0 else 1)
    status, log = statuses[own[0]] or 0, logs / f"{own[0]}.txt"
    message = log.read_text(encoding="utf-8", errors="replace").strip()[-SHOWN:]
    if status < 0:
        message = f"It was killed ({signal.Signals(-status).name}), perhaps for lack of memory."
    raise TrainingError(
        f"Process {own[0]} of {len(statuses)} failed, so all were stopped. {message}\nCorrect that "
        "and start the same command again. An interrupted training continues after its last "
        "complete epoch."
    )


def help_training(recipe: "Recipe", folder: Path) -> None:
    """Run train.ipynb up to the trained network; only the first process writes into `folder`.

    The files of this process are in a temporary folder, and no tracker reports it.
    """
    import nbformat

    from commands.notebook import execute_notebook
    from commands.train import NOTEBOOK, check_inputs

    check_inputs(recipe)
    notebook = nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    last = next(index for index, names in enumerate(tags) if TRAINED in names)
    notebook.cells = notebook.cells[: last + 1]
    with tempfile.TemporaryDirectory(prefix="fieldmark-") as scratch:
        source, out = Path(scratch) / NOTEBOOK.name, Path(scratch) / folder.name
        nbformat.write(notebook, source)
        parameters = recipe.model_dump() | {"track": [], "out": out.as_posix()}
        execute_notebook(source, out / NOTEBOOK.name, parameters, folder, shown=False)


def end_with_parent() -> None:
    """End this process, as a signal would, when the one that started it ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        with suppress(ProcessLookupError):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
