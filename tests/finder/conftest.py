"""A finder of drawn birds, trained once for all tests that need one."""

import pytest

from fieldmark.finder.train import train_finder
from fieldmark.recipe import FinderRecipe


@pytest.fixture(scope="session")
def finder_folder(tmp_path_factory):
    """Train a small finder on drawn birds, in about half a minute; return the run's folder."""
    folder = tmp_path_factory.mktemp("finder")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_finder(FinderRecipe(num_workers=0), folder / "run")
    return folder / "run"
