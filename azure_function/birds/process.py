"""Report the CPUs, memory and uptime of this process."""

import ctypes
import math
import os
import time
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

CGROUP = Path("/sys/fs/cgroup")
STATM = Path("/proc/self/statm")
STARTED = time.monotonic()


def cpu_count(cgroup: Path = CGROUP) -> int:
    """Return how many CPUs the process may use at once, at least 1.

    That is its CPU affinity, limited by the quota of its control group (a container's limit). A
    quota of 1.5 CPUs counts as 2: with one thread less, half a CPU would be idle.
    """
    if hasattr(os, "sched_getaffinity"):
        visible = len(os.sched_getaffinity(0))
    else:
        visible = os.cpu_count() or 1
    return max(1, math.ceil(min(visible, cpu_quota(cgroup))))


def cpu_quota(cgroup: Path) -> float:
    """Return the number of CPUs that a control group allows, infinity without a limit.

    Version 2 has `cpu.max` ("150000 100000": microseconds per period), version 1 two files.
    """
    try:
        if (cgroup / "cpu.max").is_file():
            allowed, period = (cgroup / "cpu.max").read_text().split()
        else:
            allowed = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        quota = float(allowed) / float(period)
    except (OSError, ValueError):  # no control group, or "max"
        return math.inf
    return quota if quota > 0 else math.inf  # version 1 writes -1 for no limit


def memory_limit(cgroup: Path = CGROUP) -> float:
    """Return the bytes of memory that the process may use.

    That is the machine's memory or the limit of its control group, infinity if neither is known.
    """
    limits = [math.inf]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        try:
            limits.append(float(file.read_text()))
        except (OSError, ValueError):  # no control group, or "max"
            continue
    return min(limits)


def address_space_left() -> float:
    """Return the bytes of address space that the process may still allocate, infinity if any."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource else -1
    if limit < 0:  # RLIM_INFINITY, or a system without limits
        return math.inf
    return limit - address_space()


def address_space() -> int:
    """Return the size of the process's address space in bytes; only on Linux."""
    return int(STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int | None:
    """Return the resident memory in bytes, None where the system does not report it."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def release_freed_memory() -> None:
    """Return freed memory to the system where the C library is glibc; a no-op elsewhere.

    Loading a model frees much. https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return


def uptime() -> float:
    """Return the seconds since this module was imported."""
    return round(time.monotonic() - STARTED, 1)
