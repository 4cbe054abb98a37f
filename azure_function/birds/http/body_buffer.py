"""Limit the bytes of all request bodies in memory together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import photo
from . import problems
from .load_shedding import RETRY_AFTER

CAPACITY = 4 * photo.MAX_BYTES  # of all bodies together, however slowly they arrive


class BodyBuffer:
    """Memory for the bodies of all requests: at most `capacity` bytes, `used` of them now."""

    def __init__(self, capacity: int = CAPACITY):
        self.capacity, self.used = capacity, 0

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that reserves memory until the block ends; it raises a Problem."""
        reserved = 0

        def reserve(count: int) -> None:
            nonlocal reserved
            if self.used + count > self.capacity:
                raise problems.busy(RETRY_AFTER)
            self.used += count
            reserved += count

        try:
            yield reserve
        finally:
            self.used -= reserved
