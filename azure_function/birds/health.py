"""Tell how the process is doing."""

import os
import time
from pathlib import Path

STARTED = time.monotonic()


def uptime() -> float:
    """Return the seconds since the process began to serve."""
    return round(time.monotonic() - STARTED, 1)


def resident() -> int | None:
    """Return the resident memory in bytes, None where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
