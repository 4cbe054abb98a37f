"""A real Triton server on this computer answers as the function does."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from fastapi.testclient import TestClient
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig
from tritonclient.utils import InferenceServerException

from benchmarks.hostile_photos import HOSTILE
from benchmarks.triton_server import ENVIRONMENT, run_triton
from birds import drawn
from birds.api import create_app
from birds.sessions import create_session
from export.triton.config import Backend
from export.triton.repository import export_repository
from fieldmark.errors import ExportError, RunError
from tests.command_line import run_command
from tests.conftest import LABELS, ROOT
from tests.finders import TWO_BIRDS, draw_scene
from tests.surgery import change_card
from tests.test_benchmarks import rows_of, run_module

pytestmark = pytest.mark.slow
CLIENTS = {"HTTP": http_client, "gRPC": grpc_client}
PHOTOS = drawn.awkward_photos() | {
    name: drawn.encode_photo(drawn.draw_bird(name, 3, 200, 160)) for name in drawn.SPECIES
}
PHOTOS["two birds"] = drawn.encode_photo(draw_scene(TWO_BIRDS))
PREPARE = """
import hashlib
from birds import drawn, photo
for data in drawn.awkward_photos().values():
    decoded = photo.decode_upright(data, 320)
    print(hashlib.sha256(photo.prepare(data, 64).tobytes()).hexdigest())
    print(hashlib.sha256(decoded.pixels.tobytes() + decoded.finder_pixels.tobytes()).hexdigest())
"""
TIMEOUT = 60  # seconds of a request
HOSTILE_NAMES = ("34-byte WebP, lossless, 7000 x 7000", "baseline JPEG, 2,000,000 empty scans")


@pytest.fixture(scope="module")
def folder_of_run(run, finder_file, tmp_path_factory):
    """Return a run's folder with a finder beside its model file."""
    folder = tmp_path_factory.mktemp("run")
    for file in (run / "birds.onnx", finder_file):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture(scope="module")
def function(folder_of_run):
    model, finder = folder_of_run / "birds.onnx", folder_of_run / "finder.onnx"
    return TestClient(create_app(model, finder=finder))


@pytest.fixture(scope="session")
def environment():
    """Return the environment that Triton runs in."""
    if not (ROOT / ENVIRONMENT / "ready").is_file():
        pytest.skip("there is no Triton server: `make .venv/triton/ready` says what it needs")
    return ROOT / ENVIRONMENT


@pytest.fixture(scope="module")
def server(folder_of_run, environment, tmp_path_factory):
    """Serve the run by Triton; it has a client for each protocol."""
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "repository"
    export_repository(folder_of_run, repository, Backend.PYTHON)
    with run_triton(repository, folder, environment) as triton:
        clients = {
            "HTTP": http_client.InferenceServerClient(triton.http, concurrency=8),
            "gRPC": grpc_client.InferenceServerClient(triton.grpc),
        }
        yield SimpleNamespace(**clients)
        for client in clients.values():
            client.close()


def infer(server, protocol: str, photos: list[bytes], **options):
    """Return the result for photos that are one request."""
    tensor = CLIENTS[protocol].InferInput("photo", [len(photos), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(photos, np.object_)[:, None])
    if protocol == "gRPC":
        options["client_timeout"] = TIMEOUT
    return getattr(server, protocol).infer("birds", [tensor], **options)


def classify(function, photo: bytes) -> dict:
    """Return what the function responds to a photo."""
    return function.post("/api/classify", content=photo).json()


def check_equal(answer: bytes, expected: dict) -> None:
    """Assert that an answer is the function's: the same but for the time and rounding."""
    answer = json.loads(answer)
    assert answer.keys() == expected.keys()
    for one, other in zip(answer["predictions"], expected["predictions"], strict=True):
        assert one == other | {"probability": pytest.approx(other["probability"], abs=1e-5)}
    same = ("photo", "heatmap", "birds", "model")
    assert {key: answer[key] for key in same} == {key: expected[key] for key in same}
    assert answer["answer"]["kind"] == expected["answer"]["kind"]
    assert answer["answer"]["labels"] == expected["answer"]["labels"]
    assert answer["milliseconds"].keys() == expected["milliseconds"].keys()


@pytest.mark.parametrize("protocol", CLIENTS)
def test_a_server_with_its_models_is_ready(server, protocol):
    client = getattr(server, protocol)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert all(client.is_model_ready(name) for name in ("birds", "species", "finder"))


def test_the_server_describes_the_models(server, folder_of_run):
    over_http = server.HTTP.get_model_metadata("birds")
    assert server.gRPC.get_model_metadata("birds", as_json=True)["outputs"]
    assert over_http["inputs"] == [{"name": "photo", "datatype": "BYTES", "shape": [-1, 1]}]
    outputs = {output["name"]: output["shape"] for output in over_http["outputs"]}
    assert outputs == {
        "answer": [-1, 1],
        "probability": [-1, len(LABELS)],
        "unknown": [-1, 1],
        "crop": [-1, 4],
    }
    parameters = server.HTTP.get_model_config("species")["parameters"]
    assert parameters["name"]["string_value"] == "tiny"
    config = server.gRPC.get_model_config("species").config
    assert config.parameters["version"].string_value == parameters["version"]["string_value"]
    assert "triton" in server.HTTP.get_server_metadata()["name"]


@pytest.mark.parametrize("protocol", CLIENTS)
def test_answers_are_the_functions(server, function, protocol):
    for photo in PHOTOS.values():
        result, expected = infer(server, protocol, [photo]), classify(function, photo)
        check_equal(result.as_numpy("answer")[0, 0], expected)
        best = result.as_numpy("probability")[0].argmax()
        assert LABELS[best] == expected["predictions"][0]["label"]
        assert result.as_numpy("crop")[0].tolist() == expected["photo"]["crop"]
        assert np.isfinite(result.as_numpy("unknown")).all()


def test_photos_of_one_request_are_answered_in_order(server, function):
    photos = list(PHOTOS.values())[-8:]
    answers = infer(server, "HTTP", photos).as_numpy("answer")[:, 0]
    for answer, photo in zip(answers, photos, strict=True):
        check_equal(answer, classify(function, photo))


def test_requests_at_the_same_time_are_computed_together(server, function):
    photos = list(PHOTOS.values()) * 4
    before = count_batches(server)
    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(lambda photo: infer(server, "gRPC", [photo]), photos))
    for result, photo in zip(results, photos, strict=True):
        check_equal(result.as_numpy("answer")[0, 0], classify(function, photo))
    batches = count_batches(server)
    assert any(size > 1 and count > before.get(size, 0) for size, count in batches.items())


def count_batches(server) -> dict[int, int]:
    """Return how many batches of each size the server gave to `birds`."""
    statistics = server.gRPC.get_inference_statistics("birds", as_json=True)["model_stats"][0]
    return {
        int(entry["batch_size"]): int(entry["compute_infer"]["count"])
        for entry in statistics["batch_stats"]
    }


def test_a_bad_photo_fails_its_request_and_no_other(server, function):
    good = PHOTOS["two birds"]
    bad = [good[: len(good) // 2], b"Dear bird,", *(HOSTILE[name]() for name in HOSTILE_NAMES)]
    photos = [photo for each in bad for photo in (each, good)]
    with ThreadPoolExecutor(8) as executor:
        outcomes = list(executor.map(lambda photo: try_infer(server, photo), photos))
    for photo, outcome in zip(photos, outcomes, strict=True):
        expected = classify(function, photo)
        if photo is good:
            check_equal(outcome.as_numpy("answer")[0, 0], expected)
        else:
            assert expected["detail"] in outcome.message()
            assert outcome.status() == "StatusCode.INVALID_ARGUMENT"
    check_equal(infer(server, "HTTP", [good]).as_numpy("answer")[0, 0], classify(function, good))


def try_infer(server, photo: bytes):
    """Return the result for a photo over gRPC, or the error."""
    try:
        return infer(server, "gRPC", [photo])
    except InferenceServerException as error:
        return error


def test_a_photo_is_refused_with_the_status_that_the_function_gives(server):
    for photo in (b"Dear bird,", b"", bytes(21 * 2**20)):
        with pytest.raises(InferenceServerException) as raised:
            infer(server, "HTTP", [photo, PHOTOS["two birds"]])
        assert raised.value.status() == "400"


@pytest.mark.parametrize("protocol", CLIENTS)
def test_the_classification_extension_names_the_labels(server, function, protocol):
    photo = PHOTOS["two birds"]
    output = CLIENTS[protocol].InferRequestedOutput("probability", class_count=3)
    classes = infer(server, protocol, [photo], outputs=[output]).as_numpy("probability")[0]
    predictions = classify(function, photo)["predictions"][:3]
    for entry, prediction in zip(classes, predictions, strict=True):
        probability, index, label = entry.decode().split(":")
        assert label == prediction["label"] == LABELS[int(index)]
        assert float(probability) == pytest.approx(prediction["probability"], abs=1e-5)


@pytest.mark.parametrize("backend", Backend)
def test_a_configuration_describes_the_graph(folder_of_run, tmp_path, backend):
    export_repository(folder_of_run, tmp_path / "repository", backend)
    for name, file in (("species", "birds.onnx"), ("finder", "finder.onnx")):
        folder = tmp_path / "repository" / name
        config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
        session = create_session(folder_of_run / file, 1)
        assert (config.name, config.backend) == (name, backend)
        assert config.max_batch_size > 1
        assert config.HasField("dynamic_batching")
        assert config.version_policy.latest.num_versions == 1
        assert (folder / "1/model.onnx").read_bytes() == (folder_of_run / file).read_bytes()
        assert [describe(each) for each in config.input] == list(map(expect, session.get_inputs()))
        served = [describe(each, backend) for each in config.output]
        assert served == [expect(each) for each in session.get_outputs()]
    labels = tmp_path / "repository/species/labels.txt"
    assert labels.read_text().splitlines() == LABELS


def describe(entry, backend: Backend | None = None) -> tuple[str, str, list[int]]:
    """Return name, type and axes of an input or output, as the graph has them."""
    dims = list(entry.dims)
    if entry.name == "unknown":
        assert entry.HasField("reshape") == (backend == Backend.ONNXRUNTIME)
        assert dims == [1]
        dims = list(entry.reshape.shape)
    return entry.name, DataType.Name(entry.data_type), dims


def expect(node) -> tuple[str, str, list[int]]:
    """Return name, type and axes but the first of an input or output of a graph; -1 is any size."""
    kind = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32"}[node.type]
    return node.name, kind, [axis if isinstance(axis, int) else -1 for axis in node.shape[1:]]


def test_triton_accepts_the_configuration_for_its_onnx_backend(
    folder_of_run, environment, tmp_path
):
    """The server has no such backend, which it says once it has checked the configuration."""
    repository = tmp_path / "repository"
    export_repository(folder_of_run, repository)
    shutil.rmtree(repository / "birds")
    with pytest.raises(RuntimeError) as raised, run_triton(repository, tmp_path, environment):
        pass
    missing = re.findall(r"to load '(\w+)'.*unable to find backend library", str(raised.value))
    assert sorted(missing) == ["finder", "species"]


def test_photos_are_prepared_there_as_here(environment):
    variables = os.environ | {"PYTHONPATH": str(ROOT / "azure_function")}
    there, here = (
        subprocess.check_output([python, "-c", PREPARE], env=variables, text=True)
        for python in (environment / "bin/python", sys.executable)
    )
    assert there == here
    assert len(set(here.split())) == 2 * len(drawn.awkward_photos())


@pytest.mark.usefixtures("environment")
def test_triton_is_measured_beside_the_function(run, folder):
    options = ["--photos", 4, "--batch", 4, "--rounds", 2, "--clients", 2]
    output = run_module("triton", run, *options, FIELDMARK_PHOTOS=folder)
    rows = rows_of(output)
    assert rows["first prediction equal"][0].startswith("100.0 %")
    assert rows["answer equal"][1] == "12"
    assert all(float(rows["2"][column]) > 0 for column in (0, 1, 3))


def test_a_repository_replaces_an_older_one(folder_of_run, tmp_path):
    export_repository(folder_of_run, tmp_path, Backend.PYTHON)
    (tmp_path / "species/1/old").touch()
    export_repository(folder_of_run, tmp_path)
    assert not (tmp_path / "species/1/old").exists()
    assert not (tmp_path / "species/1/model.py").exists()
    birds = tmp_path / "birds/1/birds"
    assert (birds / "identifier.py").is_file()
    assert not (birds / "http").exists()


def test_a_folder_with_other_files_is_refused_and_left(folder_of_run, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ExportError, match=r"mine\.txt"):
        export_repository(folder_of_run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_model_without_a_gate_is_refused(folder_of_run, tmp_path):
    change_card(
        folder_of_run / "birds.onnx", tmp_path / "birds.onnx", lambda card: card.pop("gate")
    )
    with pytest.raises(RunError, match="has not passed the gate"):
        export_repository(tmp_path, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_the_command_writes_a_repository(folder_of_run, tmp_path):
    done = run_command("export", folder_of_run, "--triton", tmp_path / "repository")
    assert done.exit_code == 0
    assert re.search(r"tiny .* is in ", done.stdout)
    assert "calibrated with no finder" in done.stderr
    assert (tmp_path / "repository/README.md").is_file()
    wrong = run_command(
        "export", folder_of_run, "--triton", tmp_path / "other", "--weights-dtype", "fp32"
    )
    assert wrong.exit_code == 2
    assert not (tmp_path / "other").exists()
