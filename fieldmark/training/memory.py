"""Keep memory that was freed in the process, for as long as networks train."""

import ctypes

MOST_MAPPED, TRIM = -4, -1  # of mallopt(3): M_MMAP_MAX and M_TRIM_THRESHOLD
NEVER = 2**31 - 1


def keep() -> None:
    """Tell the C library not to give freed memory back, where it is glibc; elsewhere do nothing.

    Every step of a fit takes and frees the same gigabytes. By default glibc returns each large
    block to the system, which clears it before it comes again: an eighth of the time of a step.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(MOST_MAPPED, 0)
        libc.mallopt(TRIM, NEVER)
    except (AttributeError, OSError, TypeError):  # no mallopt: musl, macOS, Windows
        return
