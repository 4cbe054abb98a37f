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
BLOCK = 2**16  # bytes; the time of the latest complete block is the present speed
MANY = 2**21  # bytes at once, after which freed memory is returned to the system ...
IDLE = 1  # ... once there has been no body for so many seconds
PRIORITY = 4  # an unfinished body gives way to one that is so many times as fast


class Body:
    """The part of one request's body that has arrived."""

    def __init__(self, buffer: "BodyBuffer"):
        self.buffer, self.held = buffer, 0
        self.is_complete = self.gave_way = False
        self.arrived, self.block, self.block_seconds = OVERHEAD, 0, 0.0
        self.started = self.block_started = anyio.current_time()
        self.due = self.started + GRACE  # when it falls behind MIN_RATE
        self.scope = anyio.CancelScope(deadline=min(self.due, self.started + TIMEOUT))

    def speed(self, now: float) -> float:
        """Return its bytes a second: on average or at present, whichever is lower.

        Before the first block is complete, only the average is known: OVERHEAD for a new body.
        """
        if self.is_complete:
            return math.inf
        average = self.arrived / max(now - self.started, 1)
        if self.arrived < OVERHEAD + BLOCK:
            return average
        return min(average, BLOCK / max(now - self.block_started, self.block_seconds, 1e-3))

    @contextmanager
    def receive(self) -> Iterator[None]:
        """Raise a Problem if the body is too slow in the block, or gives way to a faster one."""
        with self.scope:
            yield
        if self.scope.cancelled_caught:
            raise problems.slow_body(TIMEOUT, MIN_RATE)

    def note(self, count: int, is_complete: bool, is_dropped: bool = False) -> None:
        """Note the arrival of bytes, which postpones the deadline; dropped ones add no speed."""
        if self.gave_way:
            raise problems.slow_body(TIMEOUT, MIN_RATE)
        now = anyio.current_time()
        if not is_dropped:
            self.arrived += count
            blocks, self.block = divmod(self.block + count, BLOCK)
            if blocks:
                self.block_seconds = (now - self.block_started) / blocks
                self.block_started = now
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
        self.timer: asyncio.TimerHandle | None = None  # of release_memory

    @contextmanager
    def open(self) -> Iterator[Body]:
        """Yield a new body, which is counted until the end of the block."""
        body = Body(self)
        self.bodies.add(body)
        self.stop_timer()
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
            self.stop_timer()
            self.timer = asyncio.get_running_loop().call_later(IDLE, self.release_memory)

    def stop_timer(self) -> None:
        """Keep freed memory for the next bodies."""
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def release_memory(self) -> None:
        """Return the memory of many bodies to the system; glibc would keep it for reuse.

        The tracebacks of errors hold photos in reference cycles, so those are collected first.
        """
        self.timer = None
        if not self.used:
            self.peak = 0
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
        return self.find_slow(OVERHEAD + BLOCK, Body(self).speed(anyio.current_time())) is None
