"""The network of the session's run, its predictions and its exported graph, each computed once."""

from dataclasses import replace

import numpy as np
import pytest

from birds.classifier import Classifier
from birds.identifier import Identifier
from export.gate import check_gate, predict_over_http
from export.graph import Graph
from export.model_file import export_graph
from export.predictions import held_out_photos
from fieldmark.evaluation.ood import MaximumSoftmax, compute_score
from fieldmark.evaluation.predictions import predict
from fieldmark.network.network import Network
from tests.conftest import SIZE


@pytest.fixture(autouse=True)
def no_published_finder(monkeypatch, tmp_path):
    """Let tests that name no finder export without one, whatever is published."""
    monkeypatch.setattr("fieldmark.data.found_birds.SHIPPED_FINDER", tmp_path / "no finder.onnx")


@pytest.fixture
def network(run):
    """Return the network of the session's run; a test may change it."""
    return Network.load(run)


@pytest.fixture(scope="session")
def graph(run):
    """Return the graph that the session's run was exported from."""
    return Graph(Network.load(run), Classifier(run / "birds.onnx").card["temperature"])


@pytest.fixture(scope="session")
def float_model(graph):
    return export_graph(graph, SIZE)


@pytest.fixture(scope="session")
def held_out(table):
    return held_out_photos(table)


@pytest.fixture
def run_gate(model, held_out, folder):
    """Return a function that sends photos through the gate, expecting what a network predicts."""

    def run(network, photos=None, table=held_out):
        photos = photos or {path: (folder / path).read_bytes() for path in table["path"]}
        (expected,) = predict([network], table, photos)
        temperature = Classifier(model).card["temperature"]
        score = compute_score(MaximumSoftmax(), expected, temperature)
        expected = replace(expected, temperature=temperature, ood_score=np.asarray(score))
        return check_gate(expected, predict_over_http(Identifier.load(model), photos, expected))

    return run
