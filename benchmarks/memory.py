"""Measure the memory of processes; what they share is counted once (Linux)."""

from collections.abc import Iterable

import psutil


def measure_memory(processes: Iterable[psutil.Process]) -> float:
    """Return the proportional set sizes of processes together, in MB; ended ones have none."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def measure_tree(process: psutil.Process) -> float:
    """Return the same of a process and all its descendants."""
    return measure_memory([process, *process.children(recursive=True)])
