"""Give each visitor a kernel that is ready, while there are places, and end it when they left."""

import asyncio
import math
import os
import time
from datetime import UTC, datetime

from heating import heat
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import Float, Integer, default

PLACES = 5  # kernels that fit beside Voila into 512 MB; docs/deploy.md has the figures
TRIES = 2
PATIENCE = 120  # seconds for a kernel to start and run the notebook on two busy cores


class NoPlace(Exception):
    """Say that every kernel has its visitor, or that none can be started just now."""


class Visitors(AsyncMappingKernelManager):
    """Hold no more kernels than there are places: those of visitors, and spare ones.

    A spare kernel has run the notebook; whoever comes next gets it, with the page that it made.
    Voila's own pool has no bound, lets visitors past it, and keeps what failed to start.
    """

    places = Integer(min=1, config=True, help="kernels at a time")
    spare = Integer(1, min=1, config=True, help="kernels kept ready while there are places")
    to_show_up = Float(10, config=True, help="seconds until a page that was sent asks for its own")
    to_connect = Float(25, config=True, help="seconds from then until its socket opens, or reopens")
    pause = Float(5, config=True, help="seconds between two looks at all kernels")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._spare: list[asyncio.Task] = []
        self._arriving = 0
        self._ends: dict[str, float] = {}  # of visitors' kernels; never while a socket is open
        self._closing = False
        self.log.info("Places for visitors: %d", self.places)

    @default("places")
    def _places(self) -> int:
        wanted = os.environ.get("FIELDMARK_VISITORS", "").strip() or str(PLACES)
        if not wanted.isdecimal() or not int(wanted):
            raise SystemExit(f"FIELDMARK_VISITORS is {wanted!r}: set it to a number, or not.")
        return int(wanted)

    async def look_after(self) -> None:
        """Look at all kernels again and again, for as long as Voila runs."""
        while True:
            try:
                await self.look()
            except Exception:
                self.log.exception("A look at the kernels failed")
            await asyncio.sleep(self.pause)

    async def look(self) -> None:
        """End what was left or died, drop what failed to start, start what is missing."""
        for kernel_id in list(self._kernels):
            if kernel_id not in self._kernels or kernel_id in self._pending_kernels:
                continue  # it ended by now, or is about to
            left = time.monotonic() > self._ends.get(kernel_id, math.inf)
            if left or not await self._kernels[kernel_id].is_alive():
                self.log.info("Kernel %s %s", kernel_id, "was left" if left else "died")
                await self.shutdown_kernel(kernel_id, now=True)
        self._fill()

    async def welcome(self) -> str:
        """Return the page of a kernel that is from now on this visitor's own; raise `NoPlace`."""
        if self._taken() >= self.places:
            raise NoPlace
        self._arriving += 1
        try:
            for _ in range(TRIES):
                task = self._spare.pop(0) if self._spare else self._heating()
                self._fill()
                try:
                    kernel_id, page = await task
                except Exception:
                    self.log.warning("A visitor waited for a kernel in vain")
                    continue
                if kernel_id in self and await self._kernels[kernel_id].is_alive():
                    self._ends[kernel_id] = time.monotonic() + self.to_show_up
                    self._kernels[kernel_id].last_activity = datetime.now(UTC)  # not idle till now
                    return page
            raise NoPlace
        finally:
            self._arriving -= 1

    def _taken(self) -> int:
        return len(self._ends) + self._arriving

    def _fill(self) -> None:
        self._spare = [task for task in self._spare if not self._failed(task)]
        while len(self._spare) < min(self.spare, self.places - self._taken()):
            self._spare.append(self._heating())

    def _heating(self) -> asyncio.Task:
        task = asyncio.ensure_future(asyncio.wait_for(heat(self), PATIENCE))
        task.add_done_callback(self._tell)
        return task

    def _tell(self, task: asyncio.Task) -> None:
        if not task.cancelled() and task.exception():
            self.log.error("A kernel could not be started", exc_info=task.exception())

    def _failed(self, task: asyncio.Task) -> bool:
        return task.done() and bool(task.exception() or task.result()[0] not in self)

    def kernel_model(self, kernel_id: str) -> dict:
        """Return what a page is told of its kernel; a page that asks is there, and may connect."""
        model = super().kernel_model(kernel_id)
        self._leave(kernel_id)
        return model

    def notify_connect(self, kernel_id: str) -> None:
        """Let a kernel live while its socket is open."""
        super().notify_connect(kernel_id)
        if kernel_id in self._ends:
            self._ends[kernel_id] = math.inf

    def notify_disconnect(self, kernel_id: str) -> None:
        """Wait a while for a visitor whose socket closed."""
        super().notify_disconnect(kernel_id)
        self._leave(kernel_id)

    def _leave(self, kernel_id: str) -> None:
        if kernel_id in self._ends and self._kernel_connections.get(kernel_id, 0) < 1:
            self._ends[kernel_id] = time.monotonic() + self.to_connect

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel that its visitor forgot, but no spare one: that is idle by its nature."""
        if kernel_id in self._ends:
            await super().cull_kernel_if_idle(kernel_id)

    def remove_kernel(self, kernel_id: str):
        """Free the place of a kernel that ended, for one that is ready for the next visitor."""
        removed = super().remove_kernel(kernel_id)
        self._ends.pop(kernel_id, None)
        if not self._closing:
            self._fill()
        return removed

    async def shutdown_all(self, now: bool = False) -> None:
        """End all kernels; those that are only starting end by themselves, without Voila."""
        self._closing = True
        for kernel_id in set(self._pending_kernels) - set(self._kernels):
            self._pending_kernels.pop(kernel_id)
        await super().shutdown_all(now=now)
