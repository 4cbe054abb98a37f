"""Bound what is in hand at a time: photos in flight, and bytes still on their way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync
from fastapi import Request
from starlette.requests import ClientDisconnect

from . import photo, problems

HELD = 10 * photo.MAX_BYTES  # of all bodies together, however slowly they come
Result = TypeVar("Result")


class Places:
    """Room for `in_flight` photos, of which `at_once` are worked on and the others wait.

    A photo takes a place once its bytes are here, so a slow sender keeps none, and a request with
    several photos has one of them in flight at a time.
    """

    def __init__(self, at_once: int, in_flight: int):
        self.in_flight, self.taken, self.held = in_flight, 0, 0
        self.workers, self.threads = (anyio.CapacityLimiter(at_once) for _ in range(2))

    def check(self) -> None:
        """Raise a Problem if no place is free."""
        if self.taken >= self.in_flight:
            raise problems.busy()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for as long as the block lasts, or raise a Problem at once."""
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    @contextmanager
    def bytes(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts bytes in, until the block ends; a Problem if too many."""
        mine = 0

        def hold(count: int) -> None:
            nonlocal mine
            if self.held + count > HELD:
                raise problems.busy()
            self.held += count
            mine += count

        try:
            yield hold
        finally:
            self.held -= mine

    async def work(self, request: Request, task: Callable[..., Result], *details) -> Result:
        """Run a task in a thread when its turn comes; raise ClientDisconnect if nobody waits."""
        try:
            self.workers.acquire_nowait()
        except anyio.WouldBlock:
            await self.turn(request)
        try:
            return await run_sync(task, *details, limiter=self.threads)
        finally:
            self.workers.release()

    async def turn(self, request: Request) -> None:
        """Wait for a worker, or raise ClientDisconnect as soon as the client is gone."""
        mine = False

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                await anyio.sleep(0.01)  # a server that repeats itself shall not block the others
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await self.workers.acquire()
            mine = True
            group.cancel_scope.cancel()
        if not mine:
            raise ClientDisconnect
