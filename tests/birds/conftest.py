"""One tiny model file and one app around it for all tests of the function."""

import pytest
from fastapi.testclient import TestClient

from birds.api import create_app
from birds.identifier import Identifier
from birds.workers.decoder import JOB_LIMITS, shared_decoder


@pytest.fixture(scope="session")
def model(run):
    return run / "birds.onnx"


@pytest.fixture(scope="session")
def patient_decoder():
    """Return a decoder that waits for a busy machine; its limits but the wall time are as usual."""
    return shared_decoder(2, JOB_LIMITS)


@pytest.fixture(scope="session")
def client(model, patient_decoder):
    return TestClient(create_app(model, decoder=patient_decoder))


@pytest.fixture(scope="session")
def identifier(model, finder_file):
    return Identifier.load(model, finder_file, 1)


@pytest.fixture(scope="session")
def finding_client(model, finder_file, patient_decoder):
    return TestClient(create_app(model, finder=finder_file, decoder=patient_decoder))
