"""The widget: a response for each request of the browser, and a bound on pending photos."""

import threading

import pytest

from tests.browser import wait_until
from tests.conftest import ROOT


@pytest.fixture
def widget(monkeypatch):
    """Return the page's widget, the messages it sent, and its client with a fake `classify`."""
    monkeypatch.syspath_prepend(str(ROOT / "app"))
    import client
    from widget import PageWidget

    page_widget, sent = PageWidget(), []
    monkeypatch.setattr(page_widget, "send", sent.append)
    monkeypatch.setattr(client, "classify", lambda photo, crop: {"photo": photo, "crop": crop})
    monkeypatch.setattr(client, "describe_model", lambda: {"labels": []})
    return page_widget, sent, client


def test_each_request_gets_its_own_response(widget):
    page_widget, sent, _ = widget
    page_widget.handle_message(None, {"id": 1, "request": "classify", "crop": "center"}, [b"photo"])
    page_widget.handle_message(None, {"id": 2, "request": "model"}, [])
    wait_until(lambda: len(sent) == 2)
    assert sorted(sent, key=lambda response: response["id"]) == [
        {"id": 1, "result": {"photo": b"photo", "crop": "center"}},
        {"id": 2, "result": {"labels": []}},
    ]


def test_an_unexpected_error_gets_a_response_too(widget, monkeypatch):
    page_widget, sent, client = widget
    monkeypatch.setattr(client, "classify", lambda photo, crop: 1 / 0)
    page_widget.handle_message(None, {"id": 3, "request": "classify"}, [b"photo"])
    wait_until(lambda: sent)
    assert sent == [{"id": 3, "error": client.MESSAGES["unreadable"]}]


def test_a_photo_in_parts_is_put_together(widget):
    page_widget, sent, _ = widget
    for name, offset, part in (("part", 0, b"one"), ("part", 3, b"two"), ("classify", 6, b"!")):
        request = {"id": 4, "request": name, "offset": offset}
        page_widget.handle_message(None, request, [memoryview(part)])
    wait_until(lambda: sent)
    assert sent == [{"id": 4, "result": {"photo": b"onetwo!", "crop": "auto"}}]
    assert not page_widget.arriving


def test_photos_that_are_never_completed_make_room_for_others(widget):
    page_widget, sent, _ = widget
    for number in range(99):
        request = {"id": number, "request": "part", "offset": 0}
        page_widget.handle_message(None, request, [bytes(2**22)])
        assert sum(map(len, page_widget.arriving.values())) <= 24 * 2**20
    page_widget.handle_message(None, {"id": 200, "request": "classify"}, [bytes(20 * 2**20)])
    page_widget.handle_message(None, {"id": 0, "request": "classify", "offset": 2**22}, [b"end"])
    wait_until(lambda: len(sent) == 2)
    results = {response["id"]: "result" in response for response in sent}
    assert results == {200: True, 0: False}


@pytest.mark.parametrize("number", ["x" * 2**21, None, True, -1, 2.0, 2**31, ["x"]])
def test_a_request_whose_number_no_page_sends_gets_no_response(widget, number):
    page_widget, sent, _ = widget
    page_widget.handle_message(None, {"id": number, "request": "model"}, [])
    page_widget.handle_message(None, {"id": 5, "request": "model"}, [])
    wait_until(lambda: sent)
    assert [response["id"] for response in sent] == [5]


def test_pending_photos_are_bounded_by_their_bytes_too(widget, monkeypatch):
    page_widget, sent, client = widget
    gate, photo = threading.Event(), bytes(2**23)
    monkeypatch.setattr(client, "classify", lambda photo, crop: gate.wait(60) and {})
    for number in range(4):
        page_widget.handle_message(None, {"id": number, "request": "classify"}, [photo])
    assert [response["id"] for response in sent] == [3]
    gate.set()
    wait_until(lambda: len(sent) == 4)


def test_photos_beyond_the_bound_are_rejected_at_once(widget, monkeypatch):
    page_widget, sent, client = widget
    gate = threading.Event()
    monkeypatch.setattr(client, "classify", lambda photo, crop: gate.wait(60) and {})
    for number in range(10):
        page_widget.handle_message(None, {"id": number, "request": "classify"}, [b"photo"])
    assert [response["id"] for response in sent] == [8, 9]
    assert all("error" in response for response in sent)
    gate.set()
    wait_until(lambda: len(sent) == 10)
    page_widget.handle_message(None, {"id": 11, "request": "classify"}, [b"photo"])
    wait_until(lambda: len(sent) == 11)
    assert sent[-1] == {"id": 11, "result": {}}
