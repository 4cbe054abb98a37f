"""The Dockerfile's commands, run without Docker: what it copies, starts and checks."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import requests

from tests.browser import free_port, responds, wait_until
from tests.conftest import ROOT

LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line and line[0] not in "# "]
FINAL_STAGE = max(i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM")
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


def listing(folder) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_the_container_serves_is_healthy_and_writes_no_file(image, tmp_path):
    before, port = listing(image), str(free_port())
    missing = str(tmp_path / "missing")
    (variables,) = arguments(FUNCTION_STAGE, "ENV")
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        **dict(pair.split("=") for pair in variables.split()),
        **{"HOME": missing, "TMPDIR": missing, "FIELDMARK_PAGE": "1", "PORT": port},
    }
    (command,), (health_check,) = (
        arguments(FUNCTION_STAGE, name) for name in ("CMD", "HEALTHCHECK")
    )
    start = [sys.executable, *json.loads(command)[1:]]
    check = [sys.executable, *json.loads(re.search(r"CMD (\[.*\])", health_check)[1])[1:]]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(start, cwd=image, env=environment, stderr=log, stdout=log) as server,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: server.poll() is not None or responds(f"{url}/api/health"))
            assert subprocess.run(check, env=environment).returncode == 0
            form = {"photo": ("a.jpg", bytes(5_000_000))}  # many servers write this to a disk
            response = requests.post(f"{url}/api/classify?code=secret", files=form, timeout=60)
            assert response.json()["results"][0]["status"] == 415
            assert requests.get(url, timeout=60).headers["content-type"].startswith("text/html")
        finally:
            server.terminate()
            sys.stderr.write((tmp_path / "log").read_text())  # shown if the test fails
    log = (tmp_path / "log").read_text()
    assert '"kinds": ["not-a-photo"]' in log
    assert "secret" not in log
    assert subprocess.run(check, env=environment, stderr=subprocess.DEVNULL).returncode != 0
    assert listing(image) == before


def test_the_container_is_not_root_and_contains_only_what_is_served():
    names = [name for name, _ in FUNCTION_STAGE]
    (user,) = arguments(FUNCTION_STAGE, "USER")
    assert user != "root"
    assert names.index("USER") < names.index("CMD")
    sources = [s for line in arguments(FUNCTION_STAGE, "COPY") for s in shlex.split(line)[:-1]]
    assert not any(s in (".", "azure_function") or s.endswith(".safetensors") for s in sources)
