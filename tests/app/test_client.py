"""The client of the function: its requests, its retries, and a sentence for each failure."""

from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from app import client
from app.client import MESSAGES, SETTINGS
from tests.fake_function import BUSY, MODEL, RESULT, response, run_fake_function

LOOK = "&crop=auto&birds=all"


@pytest.fixture
def function(monkeypatch):
    with run_fake_function() as function:
        monkeypatch.setenv("FIELDMARK_FUNCTION_URL", function.url + "/")
        monkeypatch.delenv("FIELDMARK_FUNCTION_KEY", raising=False)
        yield function


def error_of(request=lambda: client.classify(b"photo")) -> str:
    with pytest.raises(client.FunctionError) as caught:
        request()
    return str(caught.value)


def test_a_photo_is_sent_as_raw_bytes(function):
    assert client.classify(b"\xff\xd8photo", top=3) == RESULT
    path, headers, photo = function.requests[0]
    assert (path, photo) == (f"/api/classify?top=3&heatmap=true{LOOK}", b"\xff\xd8photo")
    assert "x-functions-key" not in {name.lower() for name in headers}


@pytest.mark.parametrize("crop", ["center", "10,20,300,300"])
def test_a_square_is_classified_without_looking_for_birds(function, crop):
    client.classify(b"photo", crop=crop)
    assert parse_qs(urlsplit(function.requests[0][0]).query)["crop"] == [crop]
    assert "birds" not in function.requests[0][0]


def test_a_function_that_looks_for_no_birds_is_asked_for_the_middle_square(function):
    function.birds = None
    assert client.classify(b"photo") == RESULT
    assert [path for path, _, _ in function.requests] == [
        f"/api/classify?top=5&heatmap=true{LOOK}",
        "/api/classify?top=5&heatmap=true",
    ]
    assert "crop" in error_of(lambda: client.classify(b"photo", crop="9,9,9,9"))


def test_the_model_card_is_returned(function):
    assert client.describe_model() == MODEL


def test_the_key_is_sent_as_a_header(function, monkeypatch):
    monkeypatch.setenv("FIELDMARK_FUNCTION_KEY", "secret\n")
    client.classify(b"photo")
    assert function.requests[0][1]["x-functions-key"] == "secret"


def test_the_key_does_not_follow_a_redirect(function, monkeypatch):
    monkeypatch.setenv("FIELDMARK_FUNCTION_KEY", "secret")
    with run_fake_function() as other_host:
        function.respond_with(b"", 307, location=f"{other_host.url}/api/classify")
        error_of()
        assert other_host.requests == []


def test_a_problem_is_reported_in_the_words_of_the_function(function):
    function.respond_with({"status": 415, "detail": "This is not a photo. Send a JPEG."}, 415)
    assert error_of() == "This is not a photo. Send a JPEG."


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "not an address"])
def test_a_function_that_is_down_is_reported_as_unreachable(monkeypatch, url):
    monkeypatch.setenv("FIELDMARK_FUNCTION_URL", url)
    assert error_of() == MESSAGES["unreachable"]
    assert error_of(client.describe_model) == MESSAGES["unreachable"]


def test_a_function_that_never_responds_is_reported_as_slow(function, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT", (10, 0.2))
    function.gate.clear()
    assert error_of() == MESSAGES["timeout"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        *((b"", status, "unauthorized") for status in (401, 403)),
        *((body, 200, "unreadable") for body in (b"<html>", b"", b"[]", b"{}", b"3")),
        *((body, 502, "unreachable") for body in (b"<html>Bad gateway", b"")),
        *((body, 500, "unreadable") for body in (b"[]", b'{"detail": ["x"]}', b'{"title": "x"}')),
    ],
)
def test_a_response_that_is_not_the_functions_gets_a_sentence(function, body, status, reason):
    function.respond_with(body, status)
    assert error_of() == MESSAGES[reason]


def test_a_photo_is_sent_again_when_the_function_is_busy(function, monkeypatch):
    waits = []
    monkeypatch.setattr(client, "time", SimpleNamespace(sleep=waits.append))
    busy = (response(BUSY, 503, retry_after=seconds) for seconds in (1, 60))
    function.first_responses = list(busy)
    assert client.classify(b"photo") == RESULT
    assert function.photos == [b"photo"] * 3
    assert waits == [1, SETTINGS["busy_max_wait_seconds"]]


def test_a_function_that_stays_busy_is_reported_in_the_end(function, monkeypatch):
    monkeypatch.setattr(client, "time", SimpleNamespace(sleep=lambda _: None))
    function.respond_with(BUSY, 503, retry_after=1)
    assert error_of() == BUSY["detail"]
    assert len(function.photos) == SETTINGS["busy_attempts"]
