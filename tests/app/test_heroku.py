"""What Heroku gets: the page alone, small enough, started by the Procfile."""

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from importlib import metadata

import psutil
import pytest
import requests
from packaging.requirements import Requirement

from tests.browser import free_port, responds, wait_until
from tests.conftest import ROOT


@pytest.mark.slow
def test_the_procfile_serves_the_page_and_takes_no_other_port():
    command = re.match("web: (.*)", (ROOT / "Procfile").read_text(encoding="utf-8"))[1]
    port = free_port()
    environment = os.environ | {"PORT": str(port)}
    environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    start = ["sh", "-c", command]
    server = subprocess.Popen(start, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: responds(f"http://127.0.0.1:{port}/voila/static/voila.js"))
        assert_places_are_shared_by_address(f"http://127.0.0.1:{port}/")
        second = subprocess.run(start, cwd=ROOT, env=environment, capture_output=True, timeout=90)
        assert second.returncode == 1
        assert b"no available port" in second.stderr
    finally:
        for process in psutil.Process(server.pid).children(recursive=True):
            process.terminate()
        server.terminate()
        server.wait(90)


def assert_places_are_shared_by_address(url: str):
    """Visit the page as Heroku's router passes on visitors, which appends their addresses."""

    def visit(forwarded: str) -> requests.Response:
        headers = {"X-Forwarded-For": forwarded, "Host": "birds.example"}
        return requests.get(url, headers=headers, timeout=90)

    assert [visit(address).status_code for address in ("203.0.113.7", "9.9.9.9, 203.0.113.7")] == [
        200
    ] * 2
    refused = visit("198.51.100.1, 203.0.113.7")
    assert refused.status_code == 503
    assert "from your network address (2)" in refused.text
    assert visit("203.0.113.7, 2001:db8::1").status_code == 200


def slug_files() -> list[str]:
    """Return the files of this repository that Heroku takes into its slug."""
    rules = (ROOT / ".slugignore").read_text(encoding="utf-8").splitlines()
    rules = [rule.rstrip("/") for rule in rules if rule and rule[0] != "#"]
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    return [
        name
        for name in files
        if not any(fnmatch(part, rule) for rule in rules for part in (*name.split("/"), name))
    ]


def test_the_slug_holds_the_page_alone():
    names = slug_files()
    assert {name.split("/")[0] for name in names} == {
        *("app", "Procfile", "requirements.txt", ".python-version", ".slugignore", "app.json"),
        "LICENSE",
    }
    assert {f"app/{name}" for name in ("app.ipynb", "page_server.py", "widget.py")} <= set(names)
    assert sum((ROOT / name).stat().st_size for name in names) < 1e6


def test_the_page_s_requirements_are_far_below_the_limit_of_a_slug():
    """Python itself is not counted; it takes less than half of the rest of the 500 MB."""
    size, lines, counted = 0, (ROOT / "requirements.in").read_text().splitlines(), set()
    while lines:
        line = lines.pop().split("#")[0].strip()
        requirement = Requirement(line) if line else None
        if not requirement or requirement.name in counted:
            continue
        if requirement.marker and not requirement.marker.evaluate():
            continue
        counted.add(requirement.name)
        package = metadata.distribution(requirement.name)
        lines += [line for line in package.requires or [] if "extra ==" not in line]
        size += sum(path.size or 0 for path in package.files)
    assert {"voila", "ipykernel", "requests", "tornado", "nbconvert"} <= counted
    assert not {"torch", "onnxruntime", "numpy"} & counted
    assert 20e6 < size < 150e6


def test_app_json_names_each_setting_of_the_page():
    app = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))
    assert set(app["env"]) == {
        *("FIELDMARK_FUNCTION_URL", "FIELDMARK_FUNCTION_KEY", "FIELDMARK_VISITORS"),
        *("FIELDMARK_VISITORS_PER_ADDRESS", "FIELDMARK_HOSTS"),
    }
    assert "value" not in app["env"]["FIELDMARK_FUNCTION_KEY"]
    assert app["formation"]["web"]["quantity"] == 1  # another dyno would not have the kernels
