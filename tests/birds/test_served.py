"""The function behind a real server: the documents' examples, slow clients, vanished clients."""

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

from birds import drawn
from tests.birds.test_photo import QUARTERS, png
from tests.browser import free_port, run_server, wait_until
from tests.conftest import ROOT

API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7071"


@pytest.fixture(scope="module")
def function(run, tmp_path_factory):
    """Serve a tiny model with one place; yield its address, its log, and a folder with photos."""
    port, folder = free_port(), tmp_path_factory.mktemp("served")
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    for name in ("bird.jpg", "another.jpg"):
        (folder / name).write_bytes(drawn.encode_photo(drawn.draw_bird("Green_Inkling")))
    with run_server(
        ["uvicorn", "birds.api:app", f"--port={port}", "--no-access-log"],
        ROOT / "azure_function",
        f"{url}/api/health",
        log,
        FIELDMARK_MODEL=str(run / "birds.onnx"),
        FIELDMARK_IN_FLIGHT="1",
    ):
        yield SimpleNamespace(url=url, log=log, folder=folder)


def examples(language: str, function) -> list[str]:
    """Return the examples in a language, asking the function that is served here."""
    found = re.findall(rf"```{language}\n(.*?)```", API, re.DOTALL)
    assert found
    assert all(ADDRESS in example for example in found)
    return [example.replace(ADDRESS, function.url) for example in found]


def output(function, *command: str) -> str:
    done = subprocess.run(
        command, cwd=function.folder, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_the_python_example_names_a_bird(function):
    (code,) = examples("python", function)
    assert re.search(r"Inkling, .* sure\.", output(function, sys.executable, "-c", code))


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl to run the examples with")
def test_the_curl_examples_name_birds(function):
    one, several = examples("sh", function)
    assert len(json.loads(output(function, "sh", "-c", one))["predictions"]) == 3
    results = json.loads(output(function, "sh", "-c", several))["results"]
    assert [len(each["predictions"]) for each in results] == [3, 3]


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node to run the example with")
def test_the_javascript_example_names_a_bird(function):
    (code,) = examples("js", function)
    code += """
    const photo = new Blob([require("fs").readFileSync("bird.jpg")], {type: "image/jpeg"});
    classify(photo).then(console.log);
    """
    assert re.search(r"Inkling, .* sure\.", output(function, "node", "-e", code))


def half_sent(function) -> socket.socket:
    """Begin to send a photo, and stop in the middle of it."""
    place = urlsplit(function.url)
    line = socket.create_connection((place.hostname, place.port))
    head = f"POST /api/classify HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-length: 100000\r\n\r\n"
    line.sendall(head.encode() + bytes(50_000))
    return line


def test_fifty_slow_clients_are_in_nobodys_way(function):
    slow = [half_sent(function) for _ in range(50)]
    for _ in range(3):
        answer = requests.post(f"{function.url}/api/classify", png(QUARTERS), timeout=60)
        assert answer.status_code == 200
    assert requests.get(f"{function.url}/api/health", timeout=60).json()["in_flight"] == 0
    for line in slow:
        line.close()
    wait_until(lambda: function.log.read_text().count('"status": 499') >= 50)
    assert "Traceback" not in function.log.read_text()
    answer = requests.post(f"{function.url}/api/classify", png(QUARTERS), timeout=60)
    assert answer.status_code == 200


def test_a_photo_far_over_the_limit_is_answered_to_a_client_that_sends_it_all(function):
    answer = requests.post(f"{function.url}/api/classify", bytes(40 * 2**20), timeout=60)
    assert answer.json()["type"] == "urn:fieldmark:photo-too-large"
