"""`fieldmark serve`: both servers start, both addresses are printed, and both stop together."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import requests

from tests.browser import free_port, responds, wait_until
from tests.command_line import run_command
from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "closed terminal"])
def test_both_servers_respond_until(end, default_signals):
    function_port, page_port = free_port(), free_port()
    function, page = f"http://127.0.0.1:{function_port}", f"http://127.0.0.1:{page_port}"
    command = [sys.executable, "-m", "commands", "serve", "--page-port", str(page_port)]
    environment = os.environ | {"FIELDMARK_FUNCTION_PORT": str(function_port)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        output = ""
        while "Ctrl-C" not in output:
            line = server.stdout.readline()
            assert line, output
            output += line
        assert page in output
        assert f"{function}/api/docs" in output
        assert requests.get(f"{function}/api/health", timeout=60).json()["status"] == "ready"
        assert "Fieldmark" in requests.get(page, timeout=60).text
        server.send_signal(end)
        try:
            assert server.wait(60) == 0
        finally:
            server.kill()
    wait_until(lambda: not responds(f"{function}/api/health") and not responds(page))


@pytest.mark.parametrize("option", ["--function-port", "--page-port"])
def test_a_used_port_is_reported_and_nothing_starts(option):
    ports = {"--function-port": free_port(), "--page-port": free_port()}
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports[option]))
        other.listen()
        result = run_command("serve", *(word for pair in ports.items() for word in pair))
    assert result.exit_code == 2
    assert f"{option} {ports[option] + 1}" in result.stderr
