"""Decoders without processes: one that works at once, one that holds photos."""

import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from birds.workers.decoder import Decoded

TIMEOUT = 30
linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits the address space"
)


class InlineDecoder:
    """A decoder in the calling thread, whose functions a test may replace."""

    def start(self):
        pass

    def close(self):
        pass

    def submit(self, function, data, *arguments, patience=0):
        future = Future()
        try:
            future.set_result(Decoded(function(data, *arguments), 0.1))
        except Exception as error:
            future.set_exception(error)
        return future


class HeldDecoder(InlineDecoder):
    """A decoder in threads, which holds photos until `open` is set, and counts them."""

    def __init__(self, workers: int = 2):
        self.open, self.lock = threading.Event(), threading.Lock()
        self.started = self.inside = self.most = 0
        self.executor, self.futures = ThreadPoolExecutor(workers), []

    def submit(self, function, data, *arguments, patience=0):
        self.futures.append(self.executor.submit(self.hold, function, data, *arguments))
        return self.futures[-1]

    def hold(self, function, data, *arguments):
        with self.lock:
            self.started += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.open.wait(TIMEOUT)
        with self.lock:
            self.inside -= 1
        return Decoded(function(data, *arguments), 0.1)
