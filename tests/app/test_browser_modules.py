"""The unit tests of the page's JavaScript modules, run by Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parent.glob("browser/*.test.mjs"))


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node 20.10 or later")
def test_the_javascript_unit_tests_pass():
    command = ["node", "--no-warnings", "--test", *TESTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert TESTS
    assert done.returncode == 0, done.stdout + done.stderr
