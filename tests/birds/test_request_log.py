"""One line of JSON a request: how it went, and nothing of the photo, its owner or the key."""

import json
import logging

import anyio
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from birds import api, drawn
from birds.http import request_log
from birds.http.settings import Settings
from tests.birds.test_photo import QUARTERS, png

KEY = "a-long-key"


@pytest.fixture
def client(model):
    return TestClient(api.create_app(model, Settings(key=KEY)), headers={"x-functions-key": KEY})


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [json.loads(r.message) for r in caplog.records if r.name == "fieldmark.requests"]


def test_an_answer_is_logged_with_its_stages(client, lines):
    data = png(QUARTERS)
    client.post("/api/classify?top=1", content=data)
    (line,) = lines()
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/classify", 200)
    assert line["bytes"] == len(data)
    assert line["kinds"] == ["species"]
    assert line["model"] == client.app.state.classifier.version
    stages = line["milliseconds"]
    assert set(stages) == {"read", "wait", "prepare", "model", "total"}
    assert min(stages.values()) >= 0
    assert sum(stages.values()) <= 2 * stages["total"] + 0.01


def test_each_photo_of_a_form_has_its_kind_and_times_are_summed_up(client, lines):
    files = [("photo", ("a.png", data)) for data in (png(QUARTERS), b"Dear bird,", png(QUARTERS))]
    results = client.post("/api/classify", files=files).json()["results"]
    (line,) = lines()
    assert line["kinds"] == ["species", "not-a-photo", "species"]
    spent = sum(each["milliseconds"]["model"] for each in (results[0], results[2]))
    assert line["milliseconds"]["model"] == pytest.approx(spent, abs=0.01)


def test_a_problem_is_logged_by_its_type(client, lines):
    client.post("/api/classify", content=b"Dear bird,")
    client.post("/api/classify", content=b"x", headers={"x-functions-key": "another"})
    client.get("/api/secrets/of/a/visitor")
    assert [line["problem"] for line in lines()] == ["not-a-photo", "key-missing", "http-error"]
    assert [line["status"] for line in lines()] == [415, 401, 404]
    assert lines()[2]["route"] is None


def test_a_health_check_is_logged_only_where_something_is_wrong(client, lines, tmp_path):
    for asked in (client, TestClient(api.create_app(tmp_path / "none.onnx"))):
        for route in ("health", "health/alive", "model"):
            asked.get(f"/api/{route}")
    assert [(line["route"], line["status"]) for line in lines()] == [
        *(("/api/model", 200), ("/api/health", 503), ("/api/model", 503)),
    ]


def test_nothing_of_the_photo_its_exif_its_name_or_the_key_is_logged(client, caplog):
    caplog.set_level(logging.DEBUG, "birds")
    caplog.set_level(logging.DEBUG, "fieldmark")
    exif = Image.Exif()
    exif[0x010E] = "my home at 47.1 N"
    data = drawn.encode_photo(QUARTERS, exif=exif.tobytes())
    assert b"my home" in data
    answers = [
        client.post("/api/classify", content=data),
        client.post("/api/classify?code=a-long-key", content=data[:-300]),
        client.post("/api/classify", files={"photo": ("grandma.jpg", data)}),
    ]
    assert [each.status_code for each in answers] == [200, 422, 200]
    told = caplog.text + "".join(each.text for each in answers)
    assert len(caplog.records) == 3
    for secret in ("my home", "grandma", KEY, "GPS"):
        assert secret not in told


def test_a_client_that_left_is_logged_and_gets_no_answer(client, lines):
    sent = []

    async def leave():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"x-functions-key", KEY.encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/classify", "headers": headers}
    anyio.run(client.app, scope | {"query_string": b"", "scheme": "http"}, leave, send)
    assert [line["status"] for line in lines()] == [request_log.CLIENT_CLOSED_REQUEST]
    assert sent == []


def test_lines_are_shown_only_where_nobody_has_set_up_logging(monkeypatch, capsys):
    quiet, root = logging.Logger("quiet"), logging.Logger("root")
    monkeypatch.setattr(request_log, "logger", quiet)
    monkeypatch.setattr(request_log.logging, "getLogger", lambda *_: root)
    root.addHandler(logging.NullHandler())
    request_log.configure_logging()
    assert quiet.handlers == []
    root.handlers.clear()
    request_log.configure_logging()
    request_log.configure_logging()
    quiet.info("{}")
    assert capsys.readouterr().err == "{}\n"


def test_pillow_does_not_tell_what_it_finds_in_exif(client, caplog, recwarn):
    request_log.configure_logging()
    caplog.set_level(logging.DEBUG)
    exif = Image.Exif()
    exif[0x010E] = "my home at 47.1 N"
    client.post("/api/classify", content=drawn.encode_photo(QUARTERS, exif=exif.tobytes()))
    cut = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02\x01\x0e\x00\x02\xff\xff"
    client.post("/api/classify", content=drawn.encode_photo(QUARTERS, exif=cut))
    assert "home" not in caplog.text
    assert [w for w in recwarn if "PIL" in w.filename] == []
