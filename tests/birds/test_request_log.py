"""One line of JSON for each request, with nothing of the photo, its owner or the key."""

import json
import logging

import anyio
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from birds import api, drawn, json_log
from birds.http import request_log
from birds.http.settings import Settings
from tests.birds.photos import PNG, QUARTERS

KEY = "a-long-key"


@pytest.fixture(scope="module")
def client(model):
    return TestClient(api.create_app(model, Settings(key=KEY)), headers={"x-functions-key": KEY})


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [json.loads(r.message) for r in caplog.records if r.name == "fieldmark.requests"]


def test_an_answer_is_logged_with_the_milliseconds_of_each_stage(client, lines):
    client.post("/api/classify?top=1", content=PNG)
    (line,) = lines()
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/classify", 200)
    assert line["message"] == "POST /api/classify: 200"
    assert line["bytes"] == len(PNG)
    assert line["kinds"] == ["species"]
    assert line["model"] == client.app.state.identifier.classifier.version
    stages = line["milliseconds"]
    assert set(stages) == {"read", "wait", "prepare", "find", "model", "total"}
    assert min(stages.values()) >= 0


def test_the_photos_of_a_form_are_logged_with_their_kinds_and_total_times(client, lines):
    files = [("photo", ("a.png", data)) for data in (PNG, b"Dear bird,", PNG)]
    results = client.post("/api/classify", files=files).json()["results"]
    (line,) = lines()
    assert line["kinds"] == ["species", "not-a-photo", "species"]
    total = sum(result["milliseconds"]["model"] for result in (results[0], results[2]))
    assert line["milliseconds"]["model"] == pytest.approx(total, abs=0.01)


def test_a_problem_is_logged_with_its_type(client, lines):
    client.post("/api/classify", content=b"Dear bird,")
    client.post("/api/classify", content=b"x", headers={"x-functions-key": "another"})
    client.get("/api/secrets/of/a/visitor")
    assert [line["problem"] for line in lines()] == ["not-a-photo", "key-missing", "http-error"]
    assert [line["status"] for line in lines()] == [415, 401, 404]
    assert lines()[2]["route"] is None
    client.request("X" * 9000, "/")
    assert lines()[3]["method"] == "other"


def test_a_successful_health_check_is_logged_for_debugging_only(client, caplog, tmp_path):
    caplog.set_level(logging.INFO, "fieldmark.requests")
    without_model = TestClient(api.create_app(tmp_path / "none.onnx"))
    caplog.clear()
    for route in ("health", "health/alive", "model"):
        client.get(f"/api/{route}")
        without_model.get(f"/api/{route}")
    records = [json.loads(r.message) for r in caplog.records if r.name == "fieldmark.requests"]
    assert [(line["route"], line["status"]) for line in records] == [
        *(("/api/health", 503), ("/api/model", 200), ("/api/model", 503)),
    ]


def test_nothing_of_the_photo_its_exif_its_name_or_the_key_is_logged(client, caplog, recwarn):
    json_log.configure_logging()
    caplog.set_level(logging.DEBUG)
    exif = Image.Exif()
    exif[0x010E] = "my home at 47.1 N"
    data = drawn.encode_photo(QUARTERS, exif=exif.tobytes())
    assert b"my home" in data
    cut = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02\x01\x0e\x00\x02\xff\xff"
    responses = [
        client.post("/api/classify", content=data),
        client.post("/api/classify?code=a-long-key", content=data[:-300]),
        client.post("/api/classify", files={"photo": ("grandma.jpg", data)}),
        client.post("/api/classify", content=drawn.encode_photo(QUARTERS, exif=cut)),
    ]
    assert [response.status_code for response in responses] == [200, 422, 200, 200]
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("httpx")]
    text = "".join([*ours, *(response.text for response in responses)])
    for secret in ("my home", "grandma", KEY, "GPS"):
        assert secret not in text
    assert [warning for warning in recwarn if "PIL" in warning.filename] == []


def test_a_client_that_disconnects_is_logged_and_gets_no_response(client, lines):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"x-functions-key", KEY.encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/classify", "headers": headers}
    anyio.run(client.app, scope | {"query_string": b"", "scheme": "http"}, receive, send)
    assert [line["status"] for line in lines()] == [request_log.CLIENT_CLOSED_REQUEST]
    assert sent == []
