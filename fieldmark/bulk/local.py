"""Run a job in processes of this computer."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

import pyarrow as pa

from birds.photo import DAMAGED
from fieldmark.bulk.classify import BatchClassifier, ClassifyOptions, split_batches
from fieldmark.bulk.rows import SCHEMA

WAITING = 1  # batches for each worker beside the one that it works on
workers: list[BatchClassifier] = []  # of this process: one


def run_local(
    options: ClassifyOptions, paths: Iterable[str], count: int, batch: int
) -> Generator[pa.Table]:
    """Yield tables of rows as batches of photos are done, in any order, by `count` processes.

    Paths are taken as processes become free. If a process dies, the photos that were in work are
    classified again, one by one; one that ends its process each time becomes a row with an error.
    """
    batches, running = split_batches(paths, batch), {}
    pool = start_processes(options, count)
    try:
        while True:
            try:
                for each in islice(batches, count * (1 + WAITING) - len(running)):
                    running[submit(pool, each)] = each
                if not running:
                    return
                done = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
                table = done.result()
                del running[done]
                yield table
            except BrokenProcessPool:
                lost = [path for each in running.values() for path in each]
                running.clear()
                pool.shutdown()
                yield from classify_singly(options, lost)
                pool = start_processes(options, count)
    finally:
        pool.shutdown(cancel_futures=True)


def classify_singly(options: ClassifyOptions, paths: Iterable[str]) -> Iterator[pa.Table]:
    """Yield a row for each photo, of which some end their process."""
    pool = start_processes(options, 1)
    try:
        for path in paths:
            try:
                yield submit(pool, [path]).result()
            except BrokenProcessPool:
                pool.shutdown()
                pool = start_processes(options, 1)
                row = dict.fromkeys(SCHEMA.names) | {"path": path, "error": DAMAGED}
                yield pa.Table.from_pylist([row], SCHEMA)
    finally:
        pool.shutdown(cancel_futures=True)


def submit(pool: ProcessPoolExecutor, paths: list[str]) -> "Future[pa.Table]":
    """Let a process classify a batch; a pool that broke in the meantime returns that error."""
    try:
        return pool.submit(classify_batch, paths)
    except BrokenProcessPool as error:
        future: Future[pa.Table] = Future()
        future.set_exception(error)
        return future


def start_processes(options: ClassifyOptions, count: int) -> ProcessPoolExecutor:
    """Return a pool of processes, which start as they are needed and load the models then."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, start_worker, (options,))


def start_worker(options: ClassifyOptions) -> None:
    """Prepare this process: it leaves Ctrl-C to its parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    workers.append(BatchClassifier(options))


def end_with_parent() -> None:
    """Wait for the parent to end, killed or not, and end this process."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def classify_batch(paths: list[str]) -> pa.Table:
    """Return the rows of a batch, in a process of the pool."""
    return workers[0](paths)
