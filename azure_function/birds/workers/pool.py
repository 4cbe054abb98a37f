"""Processes with a limit on their memory, from which a pool replaces those that die."""

import ctypes
import logging
import multiprocessing
import multiprocessing.context
import multiprocessing.util
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pebble import ProcessPool

from ..process import address_space
from .file_lock import FileLock

if sys.platform != "win32":
    import resource

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # parameters of glibc's mallopt
LARGE_BLOCK = 8 * 2**20  # bytes from which a freed allocation is returned to the system at once
KEPT = 12 * 2**20  # bytes of small freed allocations that are not
PRELOADED = ["numpy", "pebble", "pi_heif", "PIL.Image", "PIL.JpegImagePlugin", "PIL.PngImagePlugin"]
PRELOADED += ["PIL.WebPImagePlugin", "PIL.GifImagePlugin", "PIL.BmpImagePlugin"]
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # the system's own, which semaphores need too
SHORT_FOLDERS = ("/tmp", SHARED_MEMORY)  # noqa: S108
MAX_FOLDER = 70  # bytes of the temporary folder's path: Linux allows 107 for a socket's
main_lock = threading.Lock()


class WorkerPool:
    """A pool of `count` processes that may each allocate `memory` bytes; threads may share it.

    It is replaced if it breaks.
    """

    def __init__(self, count: int, memory: int):
        self.count, self.memory = count, memory
        self.lock, self.pool = threading.Lock(), self.create_pool()

    def create_pool(self) -> ProcessPool:
        """Return a pool, whose processes start with its first task."""
        find_temporary_folder()
        options = {"initializer": limit_process, "initargs": (self.memory,)}
        return ProcessPool(self.count, context=WorkerContext(), **options)

    def schedule(self, seconds: float, function: Callable, *arguments: Any) -> Future:
        """Run a function in a process, which is killed after `seconds` or if it is cancelled."""
        with self.lock:
            if not self.pool.active:
                # in a thread, because this may be a thread of the pool
                threading.Thread(target=stop_pool, args=(self.pool,), daemon=True).start()
                self.pool = self.create_pool()
            return self.pool.schedule(function, arguments, timeout=seconds)

    def close(self) -> None:
        """Kill the processes."""
        stop_pool(self.pool)


def find_temporary_folder() -> None:
    """Give Python's server of processes a folder for its socket, whose path must be short.

    It is in shared memory where no other folder can be written, as in a read-only container.
    """
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = SHARED_MEMORY
        return
    if sys.platform == "linux" and len(os.fsencode(folder)) > MAX_FOLDER:
        short = [path for path in SHORT_FOLDERS if os.access(path, os.W_OK)]
        tempfile.tempdir = short[0] if short else folder
        try:
            multiprocessing.util.get_temp_dir()  # this process keeps what it creates
        finally:
            tempfile.tempdir = folder


def stop_pool(pool: ProcessPool) -> None:
    """Kill a pool's processes."""
    pool.stop()
    pool.join()


if sys.platform == "linux":  # processes fork from a small server: fast, and they share its memory
    BaseContext, BaseProcess = (
        multiprocessing.context.ForkServerContext,
        multiprocessing.context.ForkServerProcess,
    )
    multiprocessing.set_forkserver_preload(PRELOADED)
else:
    BaseContext, BaseProcess = (
        multiprocessing.context.SpawnContext,
        multiprocessing.context.SpawnProcess,
    )


class WorkerProcess(BaseProcess):
    """A process that does not import the main module, such as the server's, again."""

    def start(self) -> None:
        """Start the process; it ends with this one, which would wait for it otherwise."""
        self.daemon = True
        with hidden_main():
            super().start()


class WorkerContext(BaseContext):
    """Starts processes as WorkerProcess."""

    Process = WorkerProcess

    def RLock(self) -> Any:
        """Return a lock between processes, another kind where there are no semaphores."""
        try:
            return super().RLock()
        except OSError:
            if not hasattr(os, "memfd_create"):
                raise
            return FileLock()


@contextmanager
def hidden_main() -> Iterator[None]:
    """Hide the main module during the block: a new process would import what it finds there."""
    with main_lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def limit_process(memory: int) -> None:
    """Limit this process to `memory` more bytes of address space, on Linux.

    It prints nothing, since libraries may quote a photo's EXIF, and ends at once when terminated.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the pool's handler waits for Python code
    warnings.simplefilter("ignore")
    logging.disable()
    with open(os.devnull, "w") as silence:
        for stream in (1, 2):
            os.dup2(silence.fileno(), stream)
    if sys.platform == "linux":
        limit_kept_memory()
        limit, allowed = address_space() + memory, resource.getrlimit(resource.RLIMIT_AS)[1]
        if allowed != resource.RLIM_INFINITY:
            limit = min(limit, allowed)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_kept_memory() -> None:
    """Make glibc return large allocations to the system when they are freed."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)
        libc.mallopt(M_ARENA_MAX, 1)  # a second one reserves 64 MB of address space
    except (AttributeError, OSError):  # another C library
        return
