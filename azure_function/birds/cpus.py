"""Count the CPUs that this process really has, which in a container are fewer than it sees."""

import math
import os
from pathlib import Path

CONTROL = Path("/sys/fs/cgroup")


def count(control: Path = CONTROL) -> int:
    """Return how many CPUs the process may use at once, at least 1: the affinity, then the quota.

    A quota of 1.5 CPUs counts as 2: one thread more is throttled, one less leaves CPU unused.
    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(seen or 1, quota(control))))


def quota(control: Path) -> float:
    """Return the CPUs that a container's control group allows, infinite where it sets no limit.

    Version 2 keeps `cpu.max` ("150000 100000": microseconds in a period), version 1 two files.
    """
    try:
        if (control / "cpu.max").is_file():
            allowed, period = (control / "cpu.max").read_text().split()
        else:
            folder = control / "cpu"
            allowed = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        share = float(allowed) / float(period)
    except (OSError, ValueError):  # no control group here, or "max"
        return math.inf
    return share if share > 0 else math.inf  # version 1 writes -1 for no limit
