"""The Dockerfile's own commands, run without Docker: what it copies, starts and asks."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial

import pytest
import requests

from tests.browser import answers, eventually, free_port
from tests.conftest import ROOT

LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


def said(instruction: str) -> list[str]:
    """Return what follows an instruction, for each line that begins with it."""
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(instruction + " ")]


@pytest.fixture
def image(tmp_path, model):
    """Copy what the Dockerfile copies, with a tiny model."""
    folder = tmp_path / "srv"
    folder.mkdir()
    for line in said("COPY"):
        *sources, target = shlex.split(line)
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, folder / target, ignore=shutil.ignore_patterns("*.pyc"))
            else:
                (folder / target).mkdir(exist_ok=True)
                shutil.copy(path, folder / target)
    shutil.copy(model, folder / "model")
    return folder


def listing(folder) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_its_commands_serve_and_find_it_healthy_and_nothing_is_written(image, tmp_path):
    before, port = listing(image), str(free_port())
    nowhere = str(tmp_path / "nowhere")
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        **dict(pair.split("=") for pair in said("ENV")[0].split()),
        **{"HOME": nowhere, "TMPDIR": nowhere, "FIELDMARK_FUNCTION_KEY": "a-long-key"},
    }
    command = json.loads(said("CMD")[0].replace("7071", port))
    start = [sys.executable, "-m", *command]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(start, cwd=image, env=environment, stderr=log, stdout=log) as server,
    ):
        try:
            url = f"http://127.0.0.1:{port}/api"
            eventually(lambda: server.poll() is not None or answers(f"{url}/health"))
            check = json.loads(re.search(r"CMD (\[.*\])", said("HEALTHCHECK")[0])[1])
            check = [sys.executable, *(part.replace("7071", port) for part in check[1:])]
            assert subprocess.run(check).returncode == 0
            ask = partial(requests.post, timeout=60)
            key = {"x-functions-key": "a-long-key"}
            form = {"photo": ("a.jpg", bytes(5_000_000))}  # a disk would be wanted for it
            response = ask(f"{url}/classify?code=secret", files=form, headers=key)
            assert response.json()["results"][0]["status"] == 415
            assert ask(f"{url}/classify", files=form).status_code == 401
        finally:
            server.terminate()
    told = (tmp_path / "log").read_text()
    assert '"kinds": ["not-a-photo"]' in told
    assert "secret" not in told
    assert "a-long-key" not in told
    assert subprocess.run(check, stderr=subprocess.DEVNULL).returncode != 0
    assert listing(image) == before


def test_it_is_not_root_and_copies_no_more_than_is_served():
    assert said("USER") == ["bird"]
    assert LINES.index("USER bird") < next(n for n, s in enumerate(LINES) if s[:4] == "CMD ")
    assert not [line for line in said("COPY") if "safetensors" in line or line.startswith(". ")]
