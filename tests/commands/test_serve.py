"""`make app`: both servers up, both addresses told, both stopped; a port that is taken is told."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import requests

from tests.browser import free_port, responds, wait_until
from tests.conftest import ROOT


def start(function_port: int, page_port: int) -> subprocess.Popen:
    ports = {"FIELDMARK_FUNCTION_PORT": str(function_port), "FIELDMARK_PAGE_PORT": str(page_port)}
    return subprocess.Popen(
        [sys.executable, "-m", "commands", "serve"],
        cwd=ROOT,
        env=os.environ | ports,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "closed terminal"])
def test_both_servers_respond_until(end):
    function_port, page_port = free_port(), free_port()
    function, page = f"http://127.0.0.1:{function_port}", f"http://127.0.0.1:{page_port}"
    with start(function_port, page_port) as server:
        told = ""
        while "Ctrl-C" not in told:
            line = server.stdout.readline()
            assert line, told
            told += line
        assert re.search(rf"{page}\b", told)
        assert re.search(rf"{function}/api/docs\b", told)
        assert requests.get(f"{function}/api/health", timeout=60).json()["status"] == "ready"
        assert "Fieldmark" in requests.get(page, timeout=60).text
        server.send_signal(end)
        assert server.wait(60) == 0
    wait_until(lambda: not responds(f"{function}/api/health") and not responds(page))


@pytest.mark.parametrize("place", [0, 1], ids=["function", "page"])
def test_a_used_port_is_reported_and_nothing_starts(place):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = [free_port(), free_port()]
        ports[place] = other.getsockname()[1]
        with start(*ports) as server:
            told = server.communicate(timeout=60)[1]
        assert server.returncode == 2
        assert f"Port {ports[place]} " in told
        assert not responds(f"http://127.0.0.1:{ports[1 - place]}")
