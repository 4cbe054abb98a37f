"""A finder of drawn birds, trained once for all tests that need one."""

import os
import subprocess
import sys

import pytest

from fieldmark.finder.finder_run import FinderRun
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def finder_run(tmp_path_factory):
    """Train a finder by `fieldmark train-finder` and its quick recipe; return its run."""
    folder = tmp_path_factory.mktemp("finder")
    command = [sys.executable, "-m", "commands", "train-finder"]
    command.append(str(ROOT / "recipes/finder-quick.yaml"))
    path = f"{ROOT}:{ROOT / 'azure_function'}"
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return FinderRun(folder / "runs/finder-quick")
