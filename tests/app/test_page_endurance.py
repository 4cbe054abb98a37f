"""The page's server with all its places taken by visitors who send and do not read."""

import json
import re
import socket
import threading
import time
from contextlib import suppress

import psutil
import pytest
import requests
import websocket

from app.websocket_filter import BINARY_PROTOCOL, MAX_PART, WIDGET_CONTROL
from tests.app.kernel_messages import binary_message
from tests.browser import run_page, wait_until
from tests.fake_function import run_fake_function

pytestmark = [pytest.mark.soak, pytest.mark.slow]

VISITORS = 5
SECONDS = 60  # of each kind of message
SMALL_BUFFER = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
OPEN = binary_message("comm_open", {"comm_id": "c", "target_name": WIDGET_CONTROL})
STATES = binary_message("comm_msg", {"comm_id": "c", "data": {"method": "request_states"}})
LONG_ID = {"method": "custom", "content": {"request": "model", "id": "x" * 2 * 10**6}}
PART = {"method": "custom", "content": {"request": "part", "id": 1, "offset": 0}}
PHOTO = {
    "method": "custom",
    "content": {"request": "classify", "id": 1, "offset": 0, "crop": "auto"},
}


def request(widget: str, data: dict, **options) -> bytes:
    return binary_message("comm_msg", {"comm_id": widget, "data": data}, **options)


def memory(process: psutil.Process) -> float:
    """Return the megabytes (PSS) of a process."""
    with suppress(psutil.Error):
        return process.memory_full_info().pss / 1e6
    return 0.0


class Megabytes:
    """The largest memory of the server, and of it and its kernels, while something happens."""

    def __init__(self, pid: int):
        self.server, self.ended = psutil.Process(pid), threading.Event()
        self.peak = {"Voila": 0.0, "Voila and kernels": 0.0}

    def now(self) -> dict[str, float]:
        own = memory(self.server)
        children = sum(map(memory, self.server.children(recursive=True)))
        return {"Voila": round(own), "Voila and kernels": round(own + children)}

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.ended.wait(0.1):
            now = self.now()
            self.peak = {name: max(now[name], value) for name, value in self.peak.items()}

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


@pytest.fixture
def page(tmp_path, share):
    with run_fake_function() as function:
        function.gate.clear()  # no photo gets a response
        visitors = str(VISITORS if share == 1 else 1)
        with run_page(function.url, tmp_path / "log", FIELDMARK_VISITORS=visitors) as server:
            yield server
        function.gate.set()


def send_without_reading(url: str, kernel: str, frame: bytes, end: float):
    """Send a frame again and again; connect anew when the server has closed the websocket."""
    address = f"{url}api/kernels/{kernel}/channels?session_id=s".replace("http", "ws", 1)
    while time.monotonic() < end:
        with suppress(OSError, websocket.WebSocketException):
            options = {"subprotocols": [BINARY_PROTOCOL], "sockopt": [SMALL_BUFFER]}
            connection = websocket.create_connection(address, 5, **options)
            try:
                connection.send_binary(OPEN)
                while time.monotonic() < end:
                    connection.send_binary(frame)
            finally:
                connection.shutdown()


def test_memory_stays_bounded_when_all_visitors_send_and_do_not_read(page, share, figures):
    pages = [requests.get(page.url, timeout=90).text for _ in range(VISITORS if share == 1 else 1)]
    kernels = [re.search(r'"kernelId": "([\w-]{36})"', text)[1] for text in pages]
    widgets = [re.search(r'"model_id": "(\w{32})"', text)[1] for text in pages]
    earlier = page.log.read_text().count("\n")
    megabytes = Megabytes(page.process.pid)
    found = figures["memory of the page's server, MB"] = {"before": megabytes.now()}
    kinds = {
        "states of the widgets": lambda widget: STATES,
        "identifiers of 2 MB": lambda widget: request(widget, LONG_ID),
        "messages of 20 MiB": lambda widget: request(widget, PHOTO, photo=bytes(20 * 2**20)),
        "photos of 1 MiB": lambda widget: request(widget, PHOTO, photo=bytes(MAX_PART)),
        "photos without an end": lambda widget: request(widget, PART, photo=bytes(MAX_PART)),
    }
    for kind, frame_for in kinds.items():
        end = time.monotonic() + max(1, SECONDS * share)
        with Megabytes(page.process.pid) as watched:
            threads = [
                threading.Thread(
                    target=send_without_reading, args=(page.url, kernel, frame_for(widget), end)
                )
                for kernel, widget in zip(kernels, widgets, strict=True)
            ]
            for thread in threads:
                thread.start()
            wait_until(lambda threads=threads: not any(thread.is_alive() for thread in threads))
        found[kind] = watched.peak
    time.sleep(60 * share)
    found["after"] = megabytes.now()
    lines = [json.loads(line) for line in page.log.read_text().splitlines()]
    figures["lines in its log, and tracebacks"] = [
        len(lines),
        sum("traceback" in line for line in lines),
    ]
    assert not [line for line in lines[earlier:] if "traceback" in line]
    failed = {line["message"] for line in lines[:earlier] if "traceback" in line}
    assert failed <= {"A kernel could not be started"}  # at first, on a busy machine
    assert requests.head(page.url, timeout=90).status_code == 200
    if share == 1:
        before = found["before"]["Voila"]
        assert max(found[kind]["Voila"] for kind in kinds) < before + 40, found
        assert max(found[kind]["Voila and kernels"] for kind in kinds) < 512, found
        assert found["after"]["Voila"] < 1.1 * before, found
