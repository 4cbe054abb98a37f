"""Limit the memory of all request bodies; slow ones give way to those that arrive quickly."""

import asyncio
import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from .. import photo, process
from . import problems
from .load_shedding import RETRY_AFTER

CAPACITY = 4 * photo.MAX_BYTES  # of all bodies together
OVERHEAD = 2**17  # bytes that a body counts for besides its own: this limits the number of bodies
TIMEOUT = 60  # seconds for a whole body: 20 MiB at 3 Mbit/s
MIN_RATE = 4096  # bytes a second
GRACE = 10  # seconds that a body may fall behind this rate
BLOCK = 2**16  # bytes; the time since the start of the latest block is the present speed
MANY = 2**21  # bytes at once, after which freed memory is returned to the system ...
IDLE = 1  # ... once there has been no body for so many seconds
PRIORITY = 4  # an unfinished body gives way to one that is so many times as fast


class Body:
    """The part of one request's body that has arrived."""

    def __init__(self, buffer: "BodyBuffer"):
        self.buffer, self.held = buffer, 0
        self.is_complete = self.gave_way = False
        self.arrived, self.block = OVERHEAD, 0
        self.started = self.block_started = anyio.current_time()
        self.due = self.started + GRACE  # when it falls behind MIN_RATE
        self.scope = anyio.CancelScope(deadline=min(self.due, self.started + TIMEOUT))

    def speed(self, now: float) -> float:
        """Return its bytes a second: on average or at present, whichever is lower."""
        if self.is_complete:
            return math.inf
        age, block_age = (max(now - since, 1) for since in (self.started, self.block_started))
        return min(self.arrived / age, BLOCK / block_age)

    @contextmanager
    def receive(self) -> Iterator[None]:
        """Raise a Problem if the body is too slow in the block, or gives way to a faster one."""
        with self.scope:
            yield
        if self.scope.cancelled_caught:
            raise problems.slow_body(TIMEOUT, MIN_RATE)

    def note(self, count: int, is_complete: bool) -> None:
        """Note the arrival of bytes, which postpones the deadline."""
        if self.gave_way:
            raise problems.slow_body(TIMEOUT, MIN_RATE)
        now = anyio.current_time()
        self.arrived += count
        self.block += count
        if self.block >= BLOCK:
            self.block, self.block_started = 0, now
        self.is_complete = is_complete
        self.due = min(now + GRACE, self.due + count / MIN_RATE)
        self.scope.deadline = min(self.due, self.started + TIMEOUT)

    def reserve(self, count: int) -> None:
        """Reserve memory for bytes that arrived; raises a Problem if there is none."""
        count += 0 if self.held else OVERHEAD
        self.buffer.make_room(count, self.speed(anyio.current_time()))
        self.buffer.used += count
        self.buffer.peak = max(self.buffer.peak, self.buffer.used)
        self.held += count


class BodyBuffer:
    """Memory for the bodies of all requests: at most `capacity` bytes, `used` of them now.

    A body holds its bytes until its request has a result. When there is no room, those that stalled
    or arrive much more slowly than another are ended, the slowest first. A complete body never is,
    and has priority over all that are not.
    """

    def __init__(self, capacity: int = CAPACITY):
        self.capacity, self.used, self.peak = capacity, 0, 0
        self.bodies: set[Body] = set()

    @contextmanager
    def open(self) -> Iterator[Body]:
        """Yield a new body, which is counted until the end of the block."""
        body = Body(self)
        self.bodies.add(body)
        try:
            yield body
        finally:
            self.release(body)

    def release(self, body: Body) -> None:
        """Count a body no longer."""
        self.bodies.discard(body)
        self.used -= body.held
        body.held = 0
        if not self.used and self.peak > MANY:
            self.peak = 0
            asyncio.get_running_loop().call_later(IDLE, self.release_memory)

    def release_memory(self) -> None:
        """Return the memory of many bodies to the system; glibc would keep it for reuse.

        The tracebacks of errors hold photos in reference cycles, so those are collected first.
        """
        if not self.used:
            gc.collect()
            process.release_freed_memory()

    def find_slow(self, count: int, speed: float) -> list[Body] | None:
        """Return the bodies to end for `count` bytes of one with this speed; None if too few are.

        The slowest are first.
        """
        missing, now, slow = self.used + count - self.capacity, anyio.current_time(), []
        if missing <= 0:
            return slow
        holding = filter(lambda body: body.held, self.bodies)
        for body in sorted(holding, key=lambda body: body.speed(now)):
            if body.is_complete or body.speed(now) * PRIORITY > speed:
                return None
            slow.append(body)
            missing -= body.held
            if missing <= 0:
                return slow
        return None

    def make_room(self, count: int, speed: float) -> None:
        """End slow bodies until `count` bytes of one with this speed fit; raises a Problem."""
        slow = self.find_slow(count, speed)
        if slow is None:
            raise problems.busy(RETRY_AFTER)
        for body in slow:
            body.gave_way = True
            body.scope.cancel()
            self.release(body)

    def is_full(self) -> bool:
        """Return whether a new body would be refused."""
        return self.find_slow(OVERHEAD + BLOCK, OVERHEAD + BLOCK) is None
