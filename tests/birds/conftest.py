"""One tiny model file and one app around it for all tests of the function."""

import pytest
from fastapi.testclient import TestClient

from birds.api import create_app


@pytest.fixture(scope="session")
def model(run):
    return run / "birds.onnx"


@pytest.fixture(scope="session")
def client(model):
    return TestClient(create_app(model))
