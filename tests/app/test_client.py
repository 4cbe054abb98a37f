"""The client asks once, waits only so long, and explains itself in one sentence."""

import pytest

from app import client
from tests.stand_in import ANSWER, BUSY, MODEL, reply, stand_in


@pytest.fixture
def function(monkeypatch):
    with stand_in() as function:
        monkeypatch.setenv("FIELDMARK_FUNCTION_URL", function.url + "/")
        monkeypatch.delenv("FIELDMARK_FUNCTION_KEY", raising=False)
        yield function


def sentence(ask=lambda: client.classify(b"photo")) -> str:
    with pytest.raises(client.NoAnswer) as caught:
        ask()
    return str(caught.value)


def test_the_photo_travels_as_raw_bytes_and_the_answer_comes_back(function):
    assert client.classify(b"\xff\xd8photo", top=3) == ANSWER
    path, headers, photo = function.asked[0]
    assert (path, photo) == ("/api/classify?top=3&heatmap=true", b"\xff\xd8photo")
    assert "x-functions-key" not in {name.lower() for name in headers}


def test_the_model_says_what_it_knows(function):
    assert client.model() == MODEL


def test_the_key_travels_as_a_header(function, monkeypatch):
    monkeypatch.setenv("FIELDMARK_FUNCTION_KEY", "secret\n")
    client.classify(b"photo")
    assert function.asked[0][1]["x-functions-key"] == "secret"


def test_the_key_does_not_follow_a_redirect(function, monkeypatch):
    monkeypatch.setenv("FIELDMARK_FUNCTION_KEY", "secret")
    with stand_in() as elsewhere:
        function.answers(b"", 307, location=f"{elsewhere.url}/api/classify")
        sentence()
        assert elsewhere.asked == []


def test_a_problem_is_told_in_the_functions_own_words(function):
    function.answers({"status": 415, "detail": "This is not a photo. Send a JPEG."}, 415)
    assert sentence() == "This is not a photo. Send a JPEG."


def test_a_function_that_is_down_is_a_sentence(function, monkeypatch):
    monkeypatch.setenv("FIELDMARK_FUNCTION_URL", "http://127.0.0.1:9")
    assert sentence() == client.UNREACHABLE
    assert sentence(client.model) == client.UNREACHABLE


def test_a_function_that_never_answers_is_a_sentence(function, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT", (10, 0.2))
    function.gate.clear()
    assert sentence() == client.SLOW


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_a_sentence_for_the_owner(function, status):
    function.answers(b"", status)
    assert sentence() == client.REFUSED


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"{}", b"3"])
def test_an_answer_that_is_not_ours_is_a_sentence(function, body):
    function.answers(body)
    assert sentence() == client.UNREADABLE


@pytest.mark.parametrize("body", [b"<html>Bad gateway", b""])
def test_a_gateway_that_answers_for_the_function_is_a_sentence(function, body):
    function.answers(body, 502)
    assert sentence() == client.UNREACHABLE


@pytest.mark.parametrize("body", [b"[]", b'{"detail": ["x"]}', b'{"title": "Oops"}'])
def test_a_problem_without_a_sentence_gets_ours(function, body):
    function.answers(body, 500)
    assert sentence() == client.UNREADABLE


def test_an_address_that_is_none_is_a_sentence(monkeypatch):
    monkeypatch.setenv("FIELDMARK_FUNCTION_URL", "not an address")
    assert sentence() == client.UNREACHABLE


def test_a_photo_that_comes_when_others_are_in_hand_is_sent_again(function, monkeypatch):
    waited = []
    monkeypatch.setattr(client.time, "sleep", waited.append)
    function.first = [reply(BUSY, 503, retry_after=1), reply(BUSY, 503, retry_after=60)]
    assert client.classify(b"photo") == ANSWER
    assert function.photos == [b"photo"] * 3
    assert waited == [1, client.LONGEST]


def test_a_function_that_stays_busy_says_so_in_the_end(function, monkeypatch):
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    function.answers(BUSY, 503, retry_after=1)
    assert sentence() == BUSY["detail"]
    assert len(function.photos) == client.TRIES
