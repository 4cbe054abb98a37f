"""A browser, and addresses and photos for the tests of the page."""

from contextlib import ExitStack

import pytest

from tests.browser import Visit, run_browser


@pytest.fixture(scope="module")  # Playwright's event loop must not outlive the tests of the page
def browser():
    with run_browser() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    """Return a function that visits an address; each visit ends with the test."""
    with ExitStack() as visits:

        def start_visit(url, *ready, **context):
            visit = Visit(browser, url, *ready, **context)
            visits.callback(visit.page.context.close)
            visits.callback(visit.leave)
            return visit

        yield start_visit
