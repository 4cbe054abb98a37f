"""Decode photos in worker processes that are limited in memory, CPU time and wall time."""

import math
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any, NamedTuple

from pebble import ProcessExpired

from .. import photo, process
from ..errors import UserError
from .pool import WorkerPool
from .shared_memory import Block, NotShared
from .task import Output, run_task

MEMORY = 112 * 2**20  # bytes of a worker: enough for a HEIC or PNG of 12 megapixels
LARGE_MEMORY = 352 * 2**20  # of the worker for large photos: a HEIC of 48 megapixels
START_SECONDS = 60.0  # of the first task, which does nothing
FUNCTION_MEMORY = 300 * 2**20  # of everything else: models, server, processes at rest
IMAGE_MEMORY = 24 * 2**20  # of decoded photos for each worker: two of 4 megapixels are in flight
ATTEMPTS = 2  # of a task whose pool breaks, because idle processes were killed from outside
ENDED: Future = Future()
ENDED.cancel()
OUT_OF_MEMORY_SIGNAL = getattr(signal, "SIGKILL", 0)
CPU_SIGNAL = getattr(signal, "SIGPROF", 0)  # ends a process that has used its CPU time


class DecoderError(UserError):
    """The processes cannot be started."""


class Decoded(NamedTuple):
    """What a function returned in a worker, and the seconds that it took there."""

    value: Any
    seconds: float


class Limits(NamedTuple):
    """What one photo may cost: seconds of CPU time and wall time, and bytes if it is large.

    The wall time begins when a process takes the photo; time in the queue is not counted.
    """

    cpu: float = 2.0
    wall: float = 2.2
    memory: int = LARGE_MEMORY


DEFAULT_LIMITS = Limits()
JOB_LIMITS = Limits(wall=60.0)  # a job on many photos waits rather than refuse one


class Decoder:
    """Runs functions on the bytes of photos in worker processes; threads may share it.

    `workers` processes decode at the same time. One more decodes photos that need more memory than
    MEMORY. A process that exceeds a limit or crashes is replaced, and the others go on.
    """

    def __init__(self, workers: int, limits: Limits = DEFAULT_LIMITS):
        self.small, self.large = WorkerPool(workers, MEMORY), WorkerPool(1, limits.memory)
        self.limits = limits
        self.shares_memory = hasattr(os, "memfd_create")

    def start(self) -> None:
        """Start the processes, so that the first photo does not wait for them.

        Raises DecoderError where the system does not allow it.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            return  # this process still imports its main module, and may not start others yet
        try:
            for pool in (self.small, self.large):
                pool.schedule(START_SECONDS, os.getpid)
        except (RuntimeError, OSError, ImportError) as error:
            cause = error.__cause__ if isinstance(error, RuntimeError) else error
            if not isinstance(cause, OSError | ImportError):  # of sockets, semaphores, processes
                return  # the pool broke, and is made again for the next photo
            raise DecoderError(
                f"The processes that decode photos cannot be started ({cause}). They need a "
                "folder that can be written, /tmp or /dev/shm, and room for a few processes."
            ) from error

    def submit(
        self, function: Callable, data: bytes, *arguments: Any, patience: float = math.inf
    ) -> "Future[Decoded]":
        """Run `function(data, *arguments)`, which a worker imports by its name.

        The Future raises PhotoError for a photo beyond a limit, whatever the function raises, and
        DecoderBusy if the worker for large photos is not free within `patience` seconds. Its
        `cancel` ends the work at once.
        """
        future: Future[Decoded] = Future()
        Task(self, future, data, (function, *arguments), patience)
        return future

    def close(self) -> None:
        """Kill the processes."""
        self.small.close()
        self.large.close()


@cache
def shared_decoder(workers: int, limits: Limits = DEFAULT_LIMITS) -> Decoder:
    """Return the decoder with these options that all of this process shares."""
    return Decoder(workers, limits)


def job_decoder() -> Decoder:
    """Return the shared decoder for jobs on many photos: a process for each CPU."""
    return shared_decoder(process.cpu_count(), JOB_LIMITS)


def plan_memory(memory: float, cpus: int) -> tuple[int, int]:
    """Return how many workers a function with so many bytes and CPUs may have, and LARGE_MEMORY.

    One worker more than CPUs, so that a slow photo leaves every CPU a worker. With less memory than
    they need there are fewer, or the largest photos are refused.
    """
    room = memory - FUNCTION_MEMORY
    large_memory = int(min(LARGE_MEMORY, max(MEMORY, room - MEMORY)))
    workers = min(cpus + 1, (room - large_memory) // (MEMORY + IMAGE_MEMORY))
    return int(max(1, workers)), large_memory


class Task:
    """The run of a function on one photo; `future` gets its result."""

    def __init__(
        self, decoder: Decoder, future: Future[Decoded], data: bytes, call: tuple, patience: float
    ):
        self.decoder, self.call, self.patience = decoder, call, patience
        self.future, self.data = future, data
        self.block = Block.create(data) if decoder.shares_memory else None
        self.owned = [self.block] if self.block else []
        self.attempts, self.seconds = 1, 0.0
        try:
            self.run(decoder.small)
        except BaseException:
            self.close_block()
            raise
        future.add_done_callback(self.release)

    def run(self, pool: WorkerPool, start_before: float = math.inf) -> None:
        """Run the function in a process of a pool, within what is left of the limits."""
        self.pool, data, limits = pool, self.block or self.data, self.decoder.limits
        options = data, max(0.1, limits.cpu - self.seconds), start_before
        wall = max(0.1, limits.wall - self.seconds)
        self.running = pool.schedule(wall, run_task, *options, *self.call)
        if self.future.done():  # cancelled in the meantime
            self.running.cancel()
        self.running.add_done_callback(self.finish)

    def finish(self, running: Future) -> None:
        """Pass the outcome to the future, or run the function again where that may help."""
        if self.future.done():
            return
        try:
            result = self.receive(running)
            if result:
                self.future.set_result(result)
        except InvalidStateError:  # it was cancelled in the meantime
            return
        except BaseException as error:  # what a callback raises, nobody else sees
            if not self.future.done():
                self.future.set_exception(error)

    def receive(self, running: Future) -> Decoded | None:
        """Return the result of a run; None if the function runs again."""
        try:
            output: Output = running.result()
        except TimeoutError as error:
            raise photo.PhotoTooSlow(photo.TOO_SLOW) from error
        except ProcessExpired as error:
            if error.exitcode == -CPU_SIGNAL:
                raise photo.PhotoTooSlow(photo.TOO_SLOW) from error
            if error.exitcode == -OUT_OF_MEMORY_SIGNAL:  # from the system, which has none left
                raise photo.PhotoNeedsMemory(photo.NEEDS_MEMORY) from error
            raise photo.DamagedPhoto(photo.DAMAGED) from error
        except (NotShared, BrokenProcessPool) as error:
            self.attempts += 1
            if self.attempts > ATTEMPTS:
                raise
            if isinstance(error, NotShared):
                self.close_block()
                self.block, self.decoder.shares_memory = None, False
            return self.run(self.pool)
        self.seconds += output.seconds
        if output.pickled is not None:
            buffers: list[bytearray] = []
            for block in self.take_block():
                buffers = block.read_pieces(output.sizes)
                if self.attempts == 1:
                    block.recycle()
                else:  # a process of a pool that broke may still write into it
                    block.close()
            if len(buffers) < len(output.sizes):
                return None  # it was cancelled in the meantime
            value = pickle.loads(output.pickled, buffers=buffers)  # noqa: S301  # of our own process
            return Decoded(value, self.seconds)
        if self.pool is self.decoder.large:
            raise photo.PhotoNeedsMemory(photo.NEEDS_MEMORY)
        return self.run(self.decoder.large, time.monotonic() + self.patience)

    def release(self, _: Future) -> None:
        """End the work if it still goes on, and free the memory.

        The pool keeps its last task, and an error keeps what its traceback leads to.
        """
        self.running.cancel()
        self.close_block()
        self.data, self.future = b"", ENDED

    def take_block(self) -> list[Block]:
        """Return the block to the first caller, of several threads; nothing to the others."""
        try:
            return [self.owned.pop()]
        except IndexError:
            return []

    def close_block(self) -> None:
        """Free the shared memory."""
        for block in self.take_block():
            block.close()
