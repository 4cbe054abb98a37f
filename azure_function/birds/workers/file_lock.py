"""A lock between processes for systems without semaphores, such as AWS Lambda, without /dev/shm."""

import os
import sys
import threading
import time
import weakref
from multiprocessing.reduction import DupFd

if sys.platform != "win32":
    import fcntl

PAUSE = 0.002  # seconds between attempts to get a lock that another process holds


class FileLock:
    """A recursive lock with the interface of multiprocessing's RLock; only on Linux.

    It is a record lock on a file without a name. The system releases it if a process dies, or
    closes any descriptor of the file, so a process must have one copy only. Others get theirs when
    they are started, like a Connection; a fork does not inherit the lock.
    """

    def __init__(self, fd: int | None = None):
        self.fd = os.memfd_create("fieldmark-lock") if fd is None else fd
        self.threads, self.depth, self.owner = threading.RLock(), 0, None
        weakref.finalize(self, os.close, self.fd)

    def __reduce__(self):
        return open_lock, (DupFd(self.fd),)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Return whether this thread has the lock, within `timeout` seconds, or at once."""
        seconds = threading.TIMEOUT_MAX if timeout is None else timeout
        deadline = time.monotonic() + (seconds if block else 0)
        if not self.threads.acquire(block, seconds if block else -1):
            return False
        while not self.depth and not self.lock_file():
            if time.monotonic() >= deadline:
                self.threads.release()
                return False
            time.sleep(PAUSE)
        self.depth, self.owner = self.depth + 1, threading.get_ident()
        return True

    def release(self) -> None:
        """Give the lock back, after as many calls as `acquire` had.

        Raises AssertionError, as multiprocessing's does, in a thread that does not hold it.
        """
        if self.owner != threading.get_ident():
            raise AssertionError("This thread does not hold the lock.")
        self.depth -= 1
        if not self.depth:
            self.owner = None
            fcntl.lockf(self.fd, fcntl.LOCK_UN)
        self.threads.release()

    def lock_file(self) -> bool:
        """Return whether this process has the record lock, which no other process held."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # the errors of a lock that another one holds
            return False
        return True


def open_lock(fd) -> FileLock:
    """Return the lock that another process sent."""
    return FileLock(fd.detach())
