"""Photos on their way in: forms, limits counted while reading, nothing on a disk."""

import tempfile

import anyio
import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from birds import api, drawn, photo
from birds.http import request_body
from birds.http.load_shedding import Slots
from birds.http.problems import Problem
from tests.birds.test_api import problem
from tests.birds.test_photo import QUARTERS, png

BIRD = drawn.encode_photo(drawn.draw_bird("Night_Inkling"))


@pytest.fixture
def client(model):
    return TestClient(api.create_app(model))


def form(*photos: bytes) -> list:
    return [("photo", (f"{number}.jpg", data)) for number, data in enumerate(photos)]


def test_each_photo_of_a_form_answers_for_itself(client):
    files = form(BIRD, b"Dear bird,", b"", BIRD[:500], png(QUARTERS))
    response = client.post("/api/classify?top=1&heatmap=true", files=files)
    assert response.status_code == 200
    first, text, empty, cut, last = response.json()["results"]
    alone = client.post("/api/classify?top=1&heatmap=true", content=BIRD).json()
    assert first | {"milliseconds": None} == alone | {"milliseconds": None}
    assert last["photo"]["width"] == 64
    assert [each["status"] for each in (text, empty, cut)] == [415, 400, 422]
    assert [each["type"][14:] for each in (text, empty, cut)] == [
        *("not-a-photo", "empty-photo", "damaged-photo")
    ]


def test_a_form_with_one_photo_is_answered_with_one_result(client):
    assert len(client.post("/api/classify", files=form(BIRD)).json()["results"]) == 1


def test_other_fields_of_a_form_are_passed_over(client):
    response = client.post("/api/classify", files=form(BIRD), data={"place": "my garden"})
    assert len(response.json()["results"]) == 1


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        pytest.param({"files": {"picture": BIRD}}, "no part named photo", id="other name"),
        pytest.param({"files": form(*[b"x"] * 33)}, "Too many files", id="33 photos"),
        pytest.param(
            {"files": [("photo", (None, "text"))]}, "has no filename", id="photo as a field"
        ),
        pytest.param(
            {"files": form(BIRD), "data": {f"field {n}": "" for n in range(33)}},
            "Too many fields",
            id="33 fields",
        ),
        pytest.param(
            {"files": form(BIRD), "data": {"note": "x" * 5000}}, "maximum size", id="long field"
        ),
        pytest.param(
            {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
            "boundary",
            id="no boundary",
        ),
        pytest.param(
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            "Invalid multipart",
            id="no form",
        ),
    ],
)
def test_a_form_that_cannot_be_read_is_told(client, sent, sentence):
    assert sentence in problem(client.post("/api/classify", **sent), 400, "bad-form")


def test_a_form_over_the_limit_is_told(client):
    half = bytes(photo.MAX_BYTES // 2)
    problem(client.post("/api/classify", files=form(half, half)), 413, "photo-too-large")


@pytest.mark.parametrize("as_form", [True, False], ids=["form", "bytes"])
def test_a_photo_of_5_mb_needs_no_temporary_folder(client, monkeypatch, as_form):
    def refuse(*_, **__):
        raise PermissionError("there is no folder to write to")

    for opener in (
        "NamedTemporaryFile",
        "TemporaryFile",
        "mkstemp",
        "gettempdir",
        "_mkstemp_inner",
    ):
        monkeypatch.setattr(tempfile, opener, refuse)
    pixels = drawn.draw_bird("Night_Inkling", 0, 1300, 1300)
    data = drawn.encode_photo(pixels, "BMP")
    assert len(data) > 5e6
    sent = {"files": form(data)} if as_form else {"content": data}
    response = client.post("/api/classify", **sent)
    assert response.status_code == 200
    found = response.json()["results"][0] if as_form else response.json()
    assert found["photo"]["width"] == 1300


def request_of(*messages: dict) -> Request:
    """Make a request whose messages come one after the other, and then never another."""
    left = list(messages)

    async def receive():
        if not left:
            await anyio.sleep_forever()
        return left.pop(0)

    scope = {"type": "http", "method": "POST", "headers": [], "log": {}}
    return Request(scope, receive)


def chunk(data: bytes, more: bool = True) -> dict:
    return {"type": "http.request", "body": data, "more_body": more}


def test_bytes_are_counted_while_they_come_and_those_over_the_limit_dropped():
    slots = Slots(1, 1)
    held = []

    async def receive():
        held.append(slots.buffered_bytes)
        return chunk(bytes(2**20))

    request = request_of()
    request._receive = receive
    with pytest.raises(photo.PhotoTooLarge):
        anyio.run(request_body.read_photos, request, slots)
    assert max(held) == photo.MAX_BYTES  # and not a chunk more, though the sender went on
    assert len(held) == request_body.MAX_DRAINED // 2**20 + 1
    assert slots.buffered_bytes == 0


def test_a_sender_who_is_too_slow_is_told_and_keeps_nothing(monkeypatch):
    monkeypatch.setattr(request_body, "TIMEOUT", 0.01)
    slots = Slots(1, 1)
    with pytest.raises(Problem) as caught:
        anyio.run(request_body.read_photos, request_of(chunk(b"a")), slots)
    assert caught.value.status == 408
    assert slots.buffered_bytes == slots.in_flight == 0


def test_all_bodies_together_have_a_limit(monkeypatch):
    monkeypatch.setattr("birds.http.load_shedding.MAX_BUFFERED", 10)
    slots = Slots(1, 1)
    with slots.reserve_bytes() as hold:
        hold(6)
        with pytest.raises(Problem) as caught:
            anyio.run(request_body.read_photos, request_of(chunk(bytes(5), more=False)), slots)
        assert caught.value.status == 503
        assert anyio.run(
            request_body.read_photos, request_of(chunk(bytes(4), more=False)), slots
        ).photos
    assert slots.buffered_bytes == 0
