"""Tell how much memory the process holds, and give back what it doesn't use."""

import ctypes
import os
from pathlib import Path


def resident() -> int | None:
    """Return the resident memory in bytes, None where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def give_back() -> None:
    """Hand freed memory back to the system, where the C library can; loading a model frees much.

    https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library than glibc; Windows
        return
