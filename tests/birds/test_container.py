"""The Dockerfile's commands, run without Docker: what it copies, starts and checks."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest
import requests

from birds import drawn
from tests.birds import read_only_machine
from tests.birds.photos import PNG, encode_heic
from tests.browser import free_port, responds, wait_until
from tests.conftest import ROOT

LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line and line[0] not in "# "]
FINAL_STAGE = max(i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM")
FIND_WRITABLE = """
import sys, tempfile
for folder in sys.argv[1:]:
    try:
        tempfile.TemporaryFile(dir=folder)
    except OSError:
        continue
    print(folder)
"""
UNKNOWN_IN_CONTAINERS = ("PYTHONPATH", "TMPDIR", "XDG_CACHE_HOME", "CI")
PAGE_STAGE, FUNCTION_STAGE = INSTRUCTIONS[:FINAL_STAGE], INSTRUCTIONS[FINAL_STAGE:]


def arguments(stage, instruction: str) -> list[str]:
    return [text for name, text in stage if name == instruction]


def copy(sources: list[str], root, target) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for source in (path for pattern in sources for path in root.glob(pattern)):
        if (root / source).is_dir():
            ignored = shutil.ignore_patterns("*.pyc", "page")
            shutil.copytree(root / source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(root / source, target)


@pytest.fixture
def image(tmp_path, model):
    """Run the COPY and build commands of both stages, with a tiny model."""
    page, folder = tmp_path / "page", tmp_path / "srv"
    for line in arguments(PAGE_STAGE, "COPY"):
        *sources, target = shlex.split(line)
        copy(sources, ROOT, page / target)
    for line in arguments(PAGE_STAGE, "RUN"):
        _, *command = shlex.split(line)
        subprocess.run([sys.executable, *command], cwd=page, check=True)
    for line in arguments(FUNCTION_STAGE, "COPY"):
        *sources, target = shlex.split(line)
        if sources[0] == "--from=page":
            copy(sources[1:], page, folder / target)
        else:
            copy(sources, ROOT, folder / target)
    shutil.copy(model, folder / "model")
    return folder


@pytest.fixture(
    params=[
        pytest.param("/dev/shm", id="a read-only container"),  # noqa: S108
        pytest.param("/tmp", id="AWS Lambda, which has no shared memory"),  # noqa: S108
    ]
)
def writable(request):
    """Return the only folder that can be written where the container runs."""
    if reason := read_only_machine.reason_to_skip():
        pytest.skip(reason)
    return request.param


@contextmanager
def run_container(image, writable, log, port):
    """Run the start command of the Dockerfile; yield its URL and its process."""
    (variables,) = arguments(FUNCTION_STAGE, "ENV")
    environment = {
        **{key: value for key, value in os.environ.items() if key not in UNKNOWN_IN_CONTAINERS},
        **dict(pair.split("=") for pair in variables.split()),
        **{"HOME": "/nonexistent", "FIELDMARK_PAGE": "1", "PORT": port},
    }
    start = [sys.executable, *dockerfile_command("CMD")[1:]]
    start = read_only_machine.on_read_only_machine(start, writable)
    with (
        log.open("w") as file,
        subprocess.Popen(start, cwd=image, env=environment, stderr=file, stdout=file) as server,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: server.poll() is not None or responds(f"{url}/api/health"))
            yield url, server
        finally:
            server.terminate()
            sys.stderr.write(log.read_text())  # shown if the test fails


def test_these_machines_are_read_only(writable, image):
    folders = ["/tmp", "/var/tmp", "/dev/shm", "/", str(image)]  # noqa: S108
    probe = [sys.executable, "-c", FIND_WRITABLE, *folders]
    done = subprocess.run(
        read_only_machine.on_read_only_machine(probe, writable), capture_output=True, text=True
    )
    assert done.stdout.split() == [writable], done.stderr


def dockerfile_command(instruction: str) -> list[str]:
    """Return the command of an instruction, which is a JSON list."""
    (line,) = arguments(FUNCTION_STAGE, instruction)
    return json.loads(re.search(r"(\[.*\])", line)[1])


def is_healthy(port: str) -> bool:
    check = [sys.executable, *dockerfile_command("HEALTHCHECK")[1:]]
    done = subprocess.run(check, env={**os.environ, "PORT": port}, stderr=subprocess.DEVNULL)
    return done.returncode == 0


@pytest.mark.slow
def test_the_container_serves_where_it_is_not_root_and_can_write_nothing(image, writable, tmp_path):
    port, log = str(free_port()), tmp_path / "log"
    with run_container(image, writable, log, port) as (url, server):
        assert is_healthy(port)
        assert psutil.Process(server.pid).uids().real != 0
        answers = [
            requests.post(f"{url}/api/classify", data=photo, timeout=60)
            for photo in (PNG, encode_heic(drawn.draw_bird("Green_Inkling")))
        ]
        assert [answer.status_code for answer in answers] == [200, 200]
        form = {"photo": ("a.jpg", bytes(5_000_000))}  # many servers write this to a disk
        response = requests.post(f"{url}/api/classify?code=secret", files=form, timeout=60)
        assert response.json()["results"][0]["status"] == 415
        assert requests.get(url, timeout=60).headers["content-type"].startswith("text/html")
    lines = log.read_text().splitlines()
    assert all("message" in json.loads(line) for line in lines)
    assert '"kinds": ["not-a-photo"]' in log.read_text()
    assert "secret" not in log.read_text()
    assert not is_healthy(port)


def test_the_container_is_not_root_and_contains_only_what_is_served():
    names = [name for name, _ in FUNCTION_STAGE]
    (user,) = arguments(FUNCTION_STAGE, "USER")
    assert user != "root"
    assert names.index("USER") < names.index("CMD")
    sources = [s for line in arguments(FUNCTION_STAGE, "COPY") for s in shlex.split(line)[:-1]]
    assert not any(s in (".", "azure_function") or s.endswith(".safetensors") for s in sources)
