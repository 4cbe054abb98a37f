"""A browser, and addresses and photos for the tests of the page."""

from contextlib import ExitStack

import pytest

from tests.app.visits import KEY
from tests.browser import Visit, run_browser, run_page
from tests.fake_function import run_fake_function


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


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def fake_function():
    with run_fake_function() as server:
        yield server


@pytest.fixture
def function(fake_function):
    """Return the fake function, reset for each test."""
    fake_function.reset()
    return fake_function


@pytest.fixture(scope="module")
def page_url(browser, fake_function, logs):
    """Serve the page with the fake function."""
    with run_page(fake_function.url, logs / "page.txt", key=KEY) as page:
        yield page.url
