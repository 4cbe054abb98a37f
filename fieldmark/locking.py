"""Lock folders that one process at a time may write to; a killed process leaves no lock."""

import json
import os
import time
from pathlib import Path

from filelock import FileLock, Timeout

from fieldmark.disk import explained
from fieldmark.errors import LockedError

LOCK_FILE = ".lock"


def lock_folder(folder: Path, doing: str, remedy: str, timeout: float = 0) -> FileLock:
    """Create and lock a folder, until `release()`, the end of the lock returned or of this process.

    A process can lock a folder several times, and shares the lock of the process that started it,
    as a notebook does with `fieldmark train`. Raises LockedError, whose message says which process
    is `doing` something to the folder and what to do, and DiskError if it is not writable.
    """
    file = folder / LOCK_FILE
    with explained(file):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.resolve(), is_singleton=True, thread_local=False)
        if not acquire(lock, 0):
            if read_holder(folder).get("pid") == os.getppid():
                return lock
            if not timeout or not acquire(lock, timeout):
                holder = describe_holder(folder)
                raise LockedError(f"{folder} is being {doing} by {holder}. {remedy}")
        holder = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M")}
        file.write_text(json.dumps(holder), encoding="utf-8")
    return lock


def acquire(lock: FileLock, timeout: float) -> bool:
    """Return whether a lock could be acquired within a number of seconds."""
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    return True


def read_holder(folder: Path) -> dict:
    """Return `pid` and `since` of the process that locked a folder last, empty if unknown."""
    try:
        holder = json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def describe_holder(folder: Path) -> str:
    """Return which process locked a folder last, and since when, in words."""
    holder = read_holder(folder)
    if "pid" not in holder:
        return "another process"
    return f"process {holder['pid']}, since {holder.get('since')}"
