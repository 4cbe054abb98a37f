"""Execute a notebook of the repository with the parameters of a recipe."""

import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import papermill
import typer
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import papermill_io

from commands.kernel import KernelManager, NotebookFile
from fieldmark.disk import RESUMES, check_writable, explain, explain_text
from fieldmark.errors import InterruptedTrainingError, TrainingError, find_error_class


def execute_notebook(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any],
    folder: Path,
    resumes: str = RESUMES,
    shown: bool = True,
) -> None:
    """Execute a notebook into `target`; the finished run is in `folder`.

    `resumes` says what starting the same command again does after an interruption; what cells print
    is `shown`. Raises the UserError that a cell raised, and typer.Exit for any other error in it.
    """
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # errors are reported below
    try:
        check_writable(target.parent)
        papermill_io.register(str(target.parent), NotebookFile(folder))
        with interrupted_by_signals():
            papermill.execute_notebook(
                str(source),
                str(target),
                parameters=dict(parameters),
                kernel_name="python3",
                kernel_manager_class=KernelManager,
                stdout_file=sys.stdout if shown else None,
                progress_bar=shown and sys.stderr.isatty(),
            )
    except PapermillExecutionError as error:
        if error_class := find_error_class(error.ename):
            raise error_class(error.evalue) from error
        if explanation := explain_text(error.evalue, folder):
            raise explanation from error
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        print(f"The notebook up to this error is {target}.", file=sys.stderr)
        raise typer.Exit(1) from error
    except DeadKernelError as error:
        raise TrainingError(
            f"The process that trained {folder} was killed, perhaps because memory ran out. Close "
            f"other programs or set a smaller `batch_size`. {resumes}"
        ) from error
    except KeyboardInterrupt as error:
        raise InterruptedTrainingError(
            f"Training was interrupted. Start the same command again. {resumes}"
        ) from error
    except OSError as error:
        if explanation := explain(error):
            raise explanation from error
        raise


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C, so that the kernel ends with this process."""
    signals = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    signals = {number for number in signals if signal.getsignal(number) is signal.SIG_DFL}
    if threading.current_thread() is not threading.main_thread():
        signals = set()  # Python handles signals in the main thread only
    before = {number: signal.signal(number, signal.default_int_handler) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
