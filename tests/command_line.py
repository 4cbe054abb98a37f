"""Run `fieldmark` commands within the test process."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from typer.testing import CliRunner, Result

from commands.main import app
from tests.conftest import ROOT

START = """import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *where):
        hidden = name.split(".")[0] in {packages}
        return None if hidden else self.finder.find_spec(name, *where)

if __name__ == "__main__":
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    from commands.main import main
    main()
"""


def run_command(*arguments: object, **environment: str) -> Result:
    """Run a command; the result has `exit_code`, `stdout` and `stderr`.

    An error that is no UserError is raised, as it is a fault of the program.
    """
    words = [str(word) for word in arguments]
    result = CliRunner().invoke(app, words, env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run_without(packages: Sequence[str], folder: Path, *arguments: object):
    """Run a command in a process as if packages were not installed; `folder` gets a script."""
    script = folder / "start.py"
    script.write_text(START.format(packages=packages))
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'azure_function'}"},
    )
