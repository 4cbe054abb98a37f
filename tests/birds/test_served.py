"""The function behind a real server: examples of the docs, slow and oversized uploads."""

import json
import re
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import requests

from birds import photo
from tests.birds.photos import BIRD, PNG
from tests.browser import run_function, wait_until
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7071"


@pytest.fixture(scope="module")
def function(model, tmp_path_factory):
    """Serve a tiny model with one slot; `folder` has the photos that the examples name."""
    folder = tmp_path_factory.mktemp("served")
    for name in ("bird.jpg", "another.jpg"):
        (folder / name).write_bytes(BIRD)
    settings = {"FIELDMARK_MODEL": str(model), "FIELDMARK_IN_FLIGHT": "1"}
    with run_function(folder / "log", **settings) as server:
        yield SimpleNamespace(url=server.url, log=server.log, folder=folder)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def examples(language: str, function) -> list[str]:
    """Return the examples of docs/api.md in a language, with the address of this function."""
    blocks = re.findall(rf"```{language}\n(.*?)```", API, re.DOTALL)
    assert blocks
    assert all(ADDRESS in block for block in blocks)
    return [block.replace(ADDRESS, function.url) for block in blocks]


def output(function, *command: str) -> str:
    done = subprocess.run(
        command, cwd=function.folder, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_the_python_example_prints_a_species(function):
    (code,) = examples("python", function)
    assert "Inkling" in output(function, sys.executable, "-c", code)


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_curl_examples_return_predictions(function):
    single, several, same_bird, address = examples("sh", function)
    assert len(json.loads(output(function, "sh", "-c", single))["predictions"]) == 3
    results = json.loads(output(function, "sh", "-c", several))["results"]
    assert [len(result["predictions"]) for result in results] == [3, 3]
    same_bird = re.sub("front.jpg|side.jpg", "bird.jpg", same_bird)
    assert json.loads(output(function, "sh", "-c", same_bird))["combined"]["photos"] == 2
    refused = json.loads(output(function, "sh", "-c", address))  # unless the owner allows it
    assert refused["type"] == "urn:fieldmark:not-a-photo"


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_javascript_example_returns_a_species(function):
    (code,) = examples("js", function)
    code += """
    const photo = new Blob([require("fs").readFileSync("bird.jpg")], {type: "image/jpeg"});
    classify(photo).then(console.log);
    """
    assert "Inkling" in output(function, "node", "-e", code)


def send_half(function) -> socket.socket:
    """Send the first half of a photo."""
    address = urlsplit(function.url)
    connection = socket.create_connection((address.hostname, address.port))
    head = f"POST /api/classify HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-length: 100000\r\n"
    connection.sendall(f"{head}\r\n".encode() + bytes(50_000))
    return connection


def test_fifty_slow_clients_do_not_hold_up_others(function):
    slow = [send_half(function) for _ in range(50)]
    assert requests.post(f"{function.url}/api/classify", PNG, timeout=60).status_code == 200
    assert requests.get(f"{function.url}/api/health", timeout=60).json()["in_flight"] == 0
    for connection in slow:
        connection.close()
    wait_until(lambda: function.log.read_text().count('"status": 499') >= 50)
    assert "Traceback" not in function.log.read_text()
    assert requests.post(f"{function.url}/api/classify", PNG, timeout=60).status_code == 200


@pytest.mark.parametrize("start", [b"GET /api/h\xff", b"BIRD", b"GET /api/health?code=a-key"])
def test_what_the_server_rejects_by_itself_is_logged_without_a_key(function, start):
    """Each line of this server's log is JSON, which the fixture checks in the end."""
    address = urlsplit(function.url)
    upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    upgrade += "sec-websocket-key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        head = f" HTTP/1.1\r\nhost: {address.netloc}\r\n{upgrade}\r\n"
        connection.sendall(start + head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 ")
    assert "a-key" not in function.log.read_text()


def test_eleven_clients_that_stall_one_byte_short_of_the_limit_deny_nobody(function):
    address = urlsplit(function.url)
    head = f"POST /api/classify HTTP/1.1\r\nhost: a\r\ncontent-length: {photo.MAX_BYTES}\r\n\r\n"
    stalled = [socket.create_connection((address.hostname, address.port)) for _ in range(11)]
    for connection in stalled:
        connection.sendall(head.encode() + bytes(photo.MAX_BYTES - 1))
    assert requests.post(f"{function.url}/api/classify", PNG, timeout=60).status_code == 200
    health = requests.get(f"{function.url}/api/health", timeout=60).json()
    assert health["buffered_bytes"] <= health["max_buffered_bytes"]
    for connection in stalled:
        connection.close()


def test_a_client_that_sends_a_photo_far_over_the_limit_gets_the_reason(function):
    response = requests.post(f"{function.url}/api/classify", bytes(40 * 2**20), timeout=60)
    assert response.json()["type"] == "urn:fieldmark:photo-too-large"
