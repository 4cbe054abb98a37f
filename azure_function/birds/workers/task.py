"""What a decoder runs in its worker processes."""

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ..photo import PhotoError, PhotoNeedsMemory
from ..process import release_freed_memory
from .shared_memory import Block, write_pieces

BUSY = "Too many photos at once just now. Please try again."
LONG = 0.1  # seconds of a task that may leave freed memory behind


class DecoderBusy(Exception):
    """No process was free in time."""


class Output(NamedTuple):
    """The pickled result of a task, the sizes of its arrays in the block, and its seconds.

    `pickled` is None for a photo that needs more memory than this process may use.
    """

    pickled: bytes | None
    sizes: list[int]
    seconds: float


def run_task(
    data: bytes | Block,
    cpu_seconds: float,
    start_before: float,
    function: Callable[..., Any],
    *arguments: Any,
) -> Output:
    """Run `function(data, *arguments)`; the result's arrays replace the photo in a block.

    Raises DecoderBusy if time.monotonic() is beyond `start_before`, NotShared, and whatever the
    function raises.
    """
    if time.monotonic() > start_before:
        raise DecoderBusy
    started, pickled, sizes = time.perf_counter(), None, []
    try:
        if isinstance(data, bytes):
            pickled = pickle.dumps(call_limited(cpu_seconds, function, data, *arguments))
        else:
            pickled, sizes = run_in_block(data, cpu_seconds, function, *arguments)
    except (PhotoNeedsMemory, MemoryError):
        pass
    seconds = time.perf_counter() - started
    if seconds > LONG:
        release_freed_memory()
    return Output(pickled, sizes, seconds)


def run_in_block(
    block: Block, cpu_seconds: float, function: Callable[..., Any], *arguments: Any
) -> tuple[bytes, list[int]]:
    """Run a function on the bytes in a block; return its result's pickle and sizes of arrays."""
    arrays: list[pickle.PickleBuffer] = []
    fd = block.open()
    try:
        result = call_limited(cpu_seconds, function, os.pread(fd, block.size, 0), *arguments)
        pickled = pickle.dumps(result, 5, buffer_callback=arrays.append)
        buffers = [array.raw() for array in arrays]
        write_pieces(fd, buffers)
        return pickled, [buffer.nbytes for buffer in buffers]
    finally:
        os.close(fd)


def call_limited(cpu_seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function; kill this process if it takes more CPU time."""
    limit_cpu(cpu_seconds)
    try:
        return function(*arguments)
    except (PhotoError, MemoryError):
        raise
    except Exception as error:  # of a class that the parent may not be able to unpickle
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
    finally:
        limit_cpu(0)


def limit_cpu(seconds: float) -> None:
    """Kill this process after so many seconds of CPU time of its threads; 0 lifts the limit."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)
