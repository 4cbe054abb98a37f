"""Keep freed memory in the process while networks train."""

import ctypes

M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1  # options of mallopt(3)
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Stop glibc from returning freed memory to the system; do nothing with another C library.

    Every training step allocates and frees the same gigabytes. By default glibc returns large
    blocks, which the system clears before they come back: an eighth of the time of a step.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
