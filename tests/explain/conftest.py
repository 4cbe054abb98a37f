"""The session's run with its network, photos and predictions, loaded once."""

import pytest

from fieldmark.explain.explained_run import ExplainedRun


@pytest.fixture(scope="session")
def explained(run, folder):
    return ExplainedRun.load(run, str(folder))
