"""Functions that cost a decoder's worker process too much, or kill it."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np


def measure(data: bytes, side: int) -> tuple[int, np.ndarray]:
    """Return the length of the data, and an array that does not fit into a pipe's buffer."""
    return len(data), np.full((side, side, 3), data[0], np.uint8)


def allocate(data: bytes, size: int) -> int:
    """Allocate memory and use it."""
    return len(bytearray(size))


def compute(data: bytes) -> None:
    """Compute for ever, in C code, as a decoder does."""
    pow(7, 10**9)


def wait(data: bytes, file: Path | None = None) -> None:
    """Wait for ever; create a file first."""
    if file:
        file.touch()
    time.sleep(1000)


def crash(data: bytes) -> None:
    """Die like a decoder with a fault in its C code."""
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(data: bytes) -> None:
    """Raise an error that no other process can unpickle."""

    class LocalError(Exception):
        pass

    raise LocalError("a local error")


def describe(data: bytes) -> tuple[int, str | None]:
    """Return the process, and the file of its main module."""
    return os.getpid(), getattr(sys.modules["__main__"], "__file__", None)
