"""Run a job with Ray Data: in processes of this computer, or on a cluster."""

import logging
import os
import tempfile
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from birds.process import cpu_count
from fieldmark.bulk.classify import BatchClassifier, ClassifyOptions, split_batches
from fieldmark.errors import UserError

OBJECT_STORE = 256 * 2**20  # bytes on this computer: paths and rows pass through it, photos do not
ATTEMPTS = 3  # at a batch whose worker process ends each time
DEATHS = {"ActorDiedError", "ActorUnavailableError", "WorkerCrashedError", "OutOfMemoryError"}
QUIET = {  # Ray's settings, for a job that prints its own progress and sends no statistics
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TQDM": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # it prints stack traces on SIGTERM
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the future default, of which Ray warns
    "RAY_task_events_report_interval_ms": "0",  # they would grow with the number of batches
}


class EngineError(UserError):
    """Ray is missing, does not start, or its workers end again and again."""


class Worker:
    """Classifies batches in a process of the cluster; the models come with it, as bytes by name.

    `folder` is where relative paths start from, if this machine has it.
    """

    def __init__(self, options: ClassifyOptions, models: dict[str, bytes], folder: str):
        self.models = tempfile.TemporaryDirectory(prefix="fieldmark-")
        for name, content in models.items():
            path = Path(self.models.name) / f"{name}.onnx"
            path.write_bytes(content)
            options = options._replace(**{name: path})
        if os.path.isdir(folder):
            os.chdir(folder)
        self.classifier = BatchClassifier(options)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the rows of a batch, which has a column `path`."""
        return self.classifier(batch["path"].to_pylist())


def run_ray(
    options: ClassifyOptions,
    paths: Sequence[str],
    workers: int | None,
    batch: int,
    address: str | None = None,
) -> Generator[pa.Table]:
    """Yield tables of rows as batches of photos are done, in any order, by `workers` processes.

    `address` is that of a running cluster, such as host:6379 or auto; without it Ray runs on this
    computer while this generator does. The default of `workers` is one for each CPU. If a process
    ends, another one repeats its batch, ATTEMPTS times at most. Raises EngineError.
    """
    with connected(workers, address) as ray:
        count = workers or int(ray.cluster_resources().get("CPU", 1))
        batches = [pa.table({"path": part}) for part in split_batches(paths, batch)]
        rows = ray.data.from_arrow(batches).map_batches(
            Worker,
            fn_constructor_args=(options, read_models(options) if address else {}, os.getcwd()),
            batch_format="pyarrow",
            batch_size=batch,
            zero_copy_batch=True,
            compute=ray.data.ActorPoolStrategy(min_size=1 if address else count, max_size=count),
            num_cpus=1,
            ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": ATTEMPTS - 1},
        )
        try:
            yield from rows.iter_batches(batch_size=None, batch_format="pyarrow")
        except ray.exceptions.RayError as error:
            raise describe_error(error) from error


@contextmanager
def connected(workers: int | None, address: str | None) -> Iterator[Any]:
    """Yield the module ray while it is connected to a cluster; raises EngineError."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise EngineError(f"Ray is not installed ({error}). Install it: make .venv/bulk") from error
    logging.getLogger("ray.data").handlers.clear()
    warnings.filterwarnings("ignore", message=".*ray_remote_args_fn")  # no other way to set retries
    try:
        ray.init(address or "local", **(join_options() if address else local_options(workers)))
    except (OSError, RuntimeError, ValueError) as error:
        where = f"the cluster at {address}" if address else "this computer"
        raise EngineError(
            f"Ray does not run on {where}: {error} Check the address with `ray status`, that the "
            "cluster has the same versions of Python and Ray, and its token: RAY_AUTH_MODE=token "
            "and RAY_AUTH_TOKEN_PATH, or RAY_AUTH_MODE=disabled."
        ) from error
    try:
        configure(ray.data.DataContext.get_current())
        yield ray
    finally:
        ray.shutdown()


def local_options(workers: int | None) -> dict:
    """Return the options of a cluster of this computer, which ends with this process."""
    return {
        "num_cpus": workers or cpu_count(),
        "object_store_memory": OBJECT_STORE,
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }


def join_options() -> dict:
    """Return the options with which to join a cluster; its workers get the code from here."""
    from birds import process
    from fieldmark import errors

    return {
        "runtime_env": {
            "py_modules": [str(Path(each.__file__ or "").parent) for each in (process, errors)]
        },
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }


def configure(context: Any) -> None:
    """Let Ray Data print nothing and yield the rows of a batch when they are done."""
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = False


def read_models(options: ClassifyOptions) -> dict[str, bytes]:
    """Return the bytes of the model files by the name of their option."""
    files = {"model": options.model, "finder": options.finder}
    return {name: Path(file).read_bytes() for name, file in files.items() if file}


def describe_error(error: BaseException) -> UserError:
    """Return what ended a job: an error of ours in a worker, or a worker that keeps ending."""
    cause: BaseException | None = error
    while cause:
        for each in (cause, getattr(cause, "cause", None)):
            if isinstance(each, UserError):
                return each
        cause = cause.__cause__
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if type(error).__name__ not in DEATHS:
        return EngineError(
            f"Ray ended the job: {reason} All rows so far are kept. Check the packages and the "
            "logs of the workers, and start the same command again."
        )
    return EngineError(
        f"A worker of Ray ended {ATTEMPTS} times at the same photos: {reason} All rows so far are "
        "kept. Start the same command again without Ray, which finds the photo, or with fewer "
        "workers if memory is short."
    )
