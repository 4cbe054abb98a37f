"""Limit the photos in flight; reject what is beyond with 503."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from . import problems

RETRY_AFTER = 1  # seconds
T = TypeVar("T")


class LoadShedder:
    """ASGI middleware: raise a Problem for photos while no slot is free, before their body is read.

    A rejection here takes a tenth of the CPU time of a pass through the app, which overload leaves
    for photos.
    """

    def __init__(self, app: ASGIApp, path: str, slots: "Slots"):
        self.app, self.path, self.slots = app, path, slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it is a photo and there is no free slot."""
        if scope["type"] == "http" and scope["path"] == self.path and scope["method"] == "POST":
            scope["log"]["route"] = self.path
            try:
                self.slots.check_free()
                return await self.app(scope, receive, send)
            except problems.Problem as problem:
                self.slots.refused += problem.kind in ("busy", "too-slow")
                raise
        await self.app(scope, receive, send)


class Slots:
    """Slots for `max_in_flight` photos, of which `workers` threads compute some; the others queue.

    A photo takes a slot once its bytes have arrived, so slow senders hold none; a request with
    several photos holds one at a time. Short bursts queue. Sustained overload is rejected, since
    queueing then adds latency and no throughput: for RETRY_AFTER after a rejection, none queues.
    """

    def __init__(self, workers: int, max_in_flight: int):
        self.workers, self.max_in_flight = workers, max_in_flight
        self.in_flight = self.refused = 0
        self.last_rejection = -RETRY_AFTER
        self.executor = ThreadPoolExecutor(workers, "model")

    def is_contended(self) -> bool:
        """Return whether more than one photo is in flight."""
        return self.in_flight > 1

    def is_full(self) -> bool:
        """Return whether no slot is free."""
        overloaded = time.monotonic() - self.last_rejection < RETRY_AFTER
        return self.in_flight >= (self.workers if overloaded else self.max_in_flight)

    def check_free(self) -> None:
        """Raise a Problem if no slot is free."""
        if self.is_full():
            self.last_rejection = time.monotonic()
            raise problems.busy(RETRY_AFTER)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold a slot during the block, or raise a Problem at once."""
        self.check_free()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def run(self, task: Callable[..., dict], *arguments) -> dict:
        """Run a task in one of the threads that compute."""
        return await asyncio.wrap_future(self.executor.submit(task, *arguments))


async def run_while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; cancel it and raise ClientDisconnect if the client leaves."""
    task = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(wait_for_disconnect(request))
    try:
        await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        disconnected.cancel()


async def wait_for_disconnect(request: Request) -> None:
    """Return when the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        await asyncio.sleep(0.01)  # some servers repeat the last message without waiting
