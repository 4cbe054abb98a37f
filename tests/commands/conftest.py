"""Signals as a terminal sends them, wherever the tests run."""

import signal

import pytest


@pytest.fixture
def default_signals():
    """Ignore neither SIGINT nor SIGHUP, which processes started by `&` or `nohup` inherit."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
