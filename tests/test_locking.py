"""One process at a time trains in a folder, and a killed process leaves no lock."""

import os
import re
import subprocess
import sys

import pytest

from fieldmark.errors import DiskError, LockedError
from fieldmark.locking import lock_folder
from tests.conftest import ROOT

HOLD = """
import sys
from pathlib import Path
from fieldmark.locking import lock_folder
lock = lock_folder(Path(sys.argv[1]), "trained", "Wait until it ends.")
print("locked", flush=True)
sys.stdin.read()
"""


def hold(folder) -> subprocess.Popen:
    """Start a process that locks a folder until its input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'azure_function'}"}
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def test_a_second_process_learns_who_trains_and_since_when(tmp_path):
    with hold(tmp_path) as first:
        assert first.stdout.readline() == "locked\n"
        expected = rf"{re.escape(str(tmp_path))} is being trained by process {first.pid}, since 20"
        with pytest.raises(LockedError, match=expected):
            lock_folder(tmp_path, "trained", "Wait until it ends.")
        first.kill()
    lock = lock_folder(tmp_path, "trained", "")  # the killed process left no lock
    with hold(tmp_path) as notebook:  # a process that the holder started shares its lock
        assert notebook.stdout.readline() == "locked\n"
        notebook.stdin.close()
    lock.release()


def test_a_lock_is_released_as_often_as_it_was_acquired(tmp_path):
    locks = [lock_folder(tmp_path, "trained", "") for _ in range(2)]
    for lock in locks:
        assert lock.is_locked
        lock.release()
    assert not lock.is_locked


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"since": 1}'])
def test_a_lock_file_that_says_nothing_is_of_another_process(tmp_path, content):
    with hold(tmp_path) as first:
        assert first.stdout.readline() == "locked\n"
        (tmp_path / ".lock").write_text(content)
        with pytest.raises(LockedError, match="being trained by another process"):
            lock_folder(tmp_path, "trained", "")
        first.kill()


def test_a_folder_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(DiskError, match=r"run is a file, not a folder. Move it away"):
        lock_folder(tmp_path / "run", "trained", "")
