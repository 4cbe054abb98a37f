"""A bounded pool of kernels: one for each visitor, and spare ones that are ready."""

import asyncio
import math
import time
from collections import Counter
from datetime import UTC, datetime

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from kernel_startup import start_kernel
from settings import read_share, read_visitors
from traitlets import Float, Integer, default

START_ATTEMPTS = 2
START_TIMEOUT = 120  # seconds to start a kernel and run the notebook on two busy cores


FULL = "Fieldmark is in use by as many visitors as it can serve at a time."
SHARE_USED = (
    "Fieldmark already serves as many visitors as it can from your network address ({}), and keeps "
    "its other places for others. Another window of yours, or somebody on the same network, has it "
    "open."
)


class NoCapacity(Exception):
    """All kernels are in use, or none can be started; the message is a sentence for the visitor."""


class KernelPool(AsyncMappingKernelManager):
    """Kernel manager that holds at most `capacity` kernels, visitors' and spare ones together.

    A spare kernel has already run the notebook; the next visitor gets it with the rendered page.
    Voila's own pool is unbounded, can be bypassed by a query, and keeps kernels that failed to
    start.
    """

    capacity = Integer(min=1, config=True, help="largest number of kernels")
    share = Integer(min=1, config=True, help="largest number of kernels for one network address")
    spare = Integer(1, min=1, config=True, help="kernels kept ready while there is capacity")
    first_request_timeout = Float(
        10, config=True, help="seconds until a delivered page must request its kernel"
    )
    connect_timeout = Float(
        25, config=True, help="seconds until its websocket must open, or reopen after a disconnect"
    )
    check_interval = Float(5, config=True, help="seconds between two checks of all kernels")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._spare: list[asyncio.Task] = []
        self._arriving: Counter[str] = Counter()  # visitors who wait for a kernel, by address
        self._networks: dict[str, str] = {}  # of visitors' kernels
        self._deadlines: dict[str, float] = {}  # of visitors' kernels; inf while connected
        self._closing = False
        self.log.info("Capacity: %d visitors, %d an address", self.capacity, self.share)

    @default("capacity")
    def _default_capacity(self) -> int:
        return read_visitors()

    @default("share")
    def _default_share(self) -> int:
        return read_share(self.capacity)

    async def check_kernels(self) -> None:
        """Shut down abandoned and dead kernels; start the spare ones that are missing."""
        for kernel_id in list(self._kernels):
            if kernel_id not in self._kernels or kernel_id in self._pending_kernels:
                continue  # it was removed during this loop, or is starting or shutting down
            expired = time.monotonic() > self._deadlines.get(kernel_id, math.inf)
            if expired or not await self._kernels[kernel_id].is_alive():
                self.log.info("Kernel %s %s", kernel_id, "was abandoned" if expired else "died")
                await self.shutdown_kernel(kernel_id, now=True)
        self._start_spare_kernels()

    async def assign_kernel(self, network: str) -> str:
        """Assign a kernel to a new visitor from a network address and return its rendered page.

        Raises `NoCapacity`.
        """
        if self._count_visitors() >= self.capacity:
            raise NoCapacity(FULL)
        if self._arriving[network] + list(self._networks.values()).count(network) >= self.share:
            raise NoCapacity(SHARE_USED.format(self.share))
        self._arriving[network] += 1
        try:
            for _ in range(START_ATTEMPTS):
                task = self._spare.pop(0) if self._spare else self._start_in_background()
                self._start_spare_kernels()
                try:
                    kernel_id, page = await task
                except Exception:
                    self.log.warning("The kernel that a visitor waited for did not start")
                    continue
                if kernel_id in self and await self._kernels[kernel_id].is_alive():
                    self._deadlines[kernel_id] = time.monotonic() + self.first_request_timeout
                    self._networks[kernel_id] = network
                    self._kernels[kernel_id].last_activity = datetime.now(UTC)  # restart idle time
                    return page
            raise NoCapacity(FULL)
        finally:
            self._arriving -= Counter([network])

    def _count_visitors(self) -> int:
        return len(self._deadlines) + self._arriving.total()

    def _start_spare_kernels(self) -> None:
        self._spare = [task for task in self._spare if not self._is_unusable(task)]
        while len(self._spare) < min(self.spare, self.capacity - self._count_visitors()):
            self._spare.append(self._start_in_background())

    def _start_in_background(self) -> asyncio.Task:
        task = asyncio.ensure_future(asyncio.wait_for(start_kernel(self), START_TIMEOUT))
        task.add_done_callback(self._log_failure)
        return task

    def _log_failure(self, task: asyncio.Task) -> None:
        if not task.cancelled() and task.exception():
            self.log.error("A kernel could not be started", exc_info=task.exception())

    def _is_unusable(self, task: asyncio.Task) -> bool:
        return task.done() and bool(task.exception() or task.result()[0] not in self)

    def kernel_model(self, kernel_id: str) -> dict:
        """Describe a kernel to its page; the request shows that the page is open."""
        model = super().kernel_model(kernel_id)
        self._await_connection(kernel_id)
        return model

    def notify_connect(self, kernel_id: str) -> None:
        """Keep a kernel while its websocket is open."""
        super().notify_connect(kernel_id)
        if kernel_id in self._deadlines:
            self._deadlines[kernel_id] = math.inf

    def notify_disconnect(self, kernel_id: str) -> None:
        """Keep a kernel for a while after its websocket closed."""
        super().notify_disconnect(kernel_id)
        self._await_connection(kernel_id)

    def _await_connection(self, kernel_id: str) -> None:
        if kernel_id in self._deadlines and self._kernel_connections.get(kernel_id, 0) < 1:
            self._deadlines[kernel_id] = time.monotonic() + self.connect_timeout

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """Shut down a visitor's idle kernel; spare kernels are always idle and stay."""
        if kernel_id in self._deadlines:
            await super().cull_kernel_if_idle(kernel_id)

    def remove_kernel(self, kernel_id: str):
        """Remove a kernel that ended, and start a spare one in its place."""
        removed = super().remove_kernel(kernel_id)
        self._deadlines.pop(kernel_id, None)
        self._networks.pop(kernel_id, None)
        if not self._closing:
            self._start_spare_kernels()
        return removed

    async def shutdown_all(self, now: bool = False) -> None:
        """Shut down all kernels; those still starting exit by themselves when Voila is gone."""
        self._closing = True
        for kernel_id in set(self._pending_kernels) - set(self._kernels):
            self._pending_kernels.pop(kernel_id)
        await super().shutdown_all(now=now)
