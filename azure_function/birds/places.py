"""Bound what is in hand at a time: photos in flight, and bytes still on their way."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from . import photo, problems

PAUSE = 1  # second, as the refusal's Retry-After has it
HELD = 10 * photo.MAX_BYTES  # of all bodies together, however slowly they come
Result = TypeVar("Result")


class Door:
    """ASGI middleware that refuses photos while no place is free, before anything is read of them.

    A refusal costs a tenth of what the way through the app would: under a crowd that is CPU time
    for photos.
    """

    def __init__(self, app: ASGIApp, path: str, places: "Places"):
        self.app, self.path, self.places = app, path, places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it brings a photo that nobody can take."""
        if scope["type"] == "http" and scope["path"] == self.path and scope["method"] == "POST":
            try:
                self.places.check()
            except problems.Problem as error:
                scope["log"]["route"] = self.path
                return await problems.answer(Request(scope), error)(scope, receive, send)
        await self.app(scope, receive, send)


class Places:
    """Room for `in_flight` photos, of which `at_once` are worked on and the others wait.

    A photo takes a place once its bytes are here, so a slow sender keeps none, and a request with
    several photos has one of them in flight at a time. A burst may wait. A crowd may not, since
    waiting makes each answer late and none more: once one was refused, for a PAUSE no other waits.
    """

    def __init__(self, at_once: int, in_flight: int):
        self.at_once, self.in_flight, self.taken, self.held = at_once, in_flight, 0, 0
        self.refused = -PAUSE
        self.threads = ThreadPoolExecutor(at_once, "photo")

    def crowded(self) -> bool:
        """Tell whether more than one photo is in hand just now."""
        return self.taken > 1

    def check(self) -> None:
        """Raise a Problem if no place is free."""
        now = time.monotonic()
        if self.taken >= (self.in_flight if now - self.refused >= PAUSE else self.at_once):
            self.refused = now
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
        """Run a task in a thread when its turn comes; raise ClientDisconnect if nobody waits.

        A thread takes the next task without asking the event loop, so that no CPU stands idle.
        """
        job = self.threads.submit(task, *details)
        done = asyncio.wrap_future(job)
        if self.taken > self.at_once:
            gone = asyncio.ensure_future(left(request))
            try:
                await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
            if not done.done() and job.cancel():  # what has begun is finished
                raise ClientDisconnect
        return await done


async def left(request: Request) -> None:
    """Wait until the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        await asyncio.sleep(0.01)  # a server that repeats itself shall not block the others
