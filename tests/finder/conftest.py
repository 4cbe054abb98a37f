"""A finder of drawn birds, trained once for all tests that need one."""

import pytest

from fieldmark.finder.finder_run import FinderRun
from tests.command_line import run_command
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def finder_run(tmp_path_factory):
    """Train a finder by `fieldmark train-finder` and its quick recipe; return its run."""
    folder = tmp_path_factory.mktemp("finder")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'azure_function'}")
        result = run_command("train-finder", ROOT / "recipes/finder-quick.yaml")
    assert result.exit_code == 0, result.stderr
    return FinderRun(folder / "runs/finder-quick")
