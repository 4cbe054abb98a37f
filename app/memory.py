"""Return memory to the operating system, which glibc keeps between blocks that are in use."""

import ctypes
import gc
import os
import sys

TRIM_INTERVAL = 20  # seconds between two calls of `trim_memory`, which takes milliseconds
MMAP_THRESHOLD = 10**6  # bytes; larger blocks, such as photos, are returned when they are freed


def trim_memory() -> None:
    """Return the server's freed memory; without glibc, do nothing."""
    gc.collect()  # websockets that were closed are cycles; `gc.freeze` makes this fast
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def limit_kernels_memory() -> None:
    """Let the processes that are started from now on return the memory of photos at once."""
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(MMAP_THRESHOLD))
