"""Tell how the process is doing."""

import time

STARTED = time.monotonic()


def uptime() -> float:
    """Return the seconds since the process began to serve."""
    return round(time.monotonic() - STARTED, 1)
