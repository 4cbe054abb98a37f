"""One tiny model file and one app around it for all tests of the function."""

import pytest
from fastapi.testclient import TestClient

from birds.api import create_app
from birds.identifier import Identifier


@pytest.fixture(scope="session")
def model(run):
    return run / "birds.onnx"


@pytest.fixture(scope="session")
def client(model):
    return TestClient(create_app(model))


@pytest.fixture(scope="session")
def identifier(model, finder_file):
    return Identifier.load(model, finder_file, 1)


@pytest.fixture(scope="session")
def finding_client(model, finder_file):
    return TestClient(create_app(model, finder=finder_file))
