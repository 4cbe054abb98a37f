"""The widget answers what the browser asks, and keeps no more photos than it may."""

import threading

import pytest

from tests.browser import eventually
from tests.conftest import ROOT


@pytest.fixture
def widget(monkeypatch):
    """Return the page's widget and what it sent, its function replaced by `classify`."""
    monkeypatch.syspath_prepend(str(ROOT / "app"))
    import client
    import page

    made, sent = page.Page(), []
    monkeypatch.setattr(made, "send", sent.append)
    monkeypatch.setattr(client, "classify", lambda photo: {"named": photo})
    monkeypatch.setattr(client, "model", lambda: {"labels": []})
    return made, sent, client


def test_each_message_gets_its_own_answer(widget):
    made, sent, _ = widget
    made.take(made, {"id": 1, "ask": "classify"}, [memoryview(b"photo")])
    made.take(made, {"id": 2, "ask": "model"}, [])
    eventually(lambda: len(sent) == 2)
    assert sorted(sent, key=lambda told: told["id"]) == [
        {"id": 1, "answer": {"named": b"photo"}},
        {"id": 2, "answer": {"labels": []}},
    ]


def test_what_nobody_foresaw_leaves_no_visitor_waiting(widget):
    made, sent, client = widget
    made.take(made, {"id": 3, "ask": "classify"}, [])  # without a photo
    eventually(lambda: sent)
    assert sent == [{"id": 3, "problem": client.UNREADABLE}]


def test_photos_beyond_what_memory_holds_are_refused_at_once(widget, monkeypatch):
    made, sent, client = widget
    gate = threading.Event()
    monkeypatch.setattr(client, "classify", lambda photo: gate.wait(60) and {})
    for number in range(10):
        made.take(made, {"id": number, "ask": "classify"}, [b"photo"])
    assert [told["id"] for told in sent] == [8, 9]
    assert all("Too many photos" in told["problem"] for told in sent)
    gate.set()
    eventually(lambda: len(sent) == 10)
    made.take(made, {"id": 11, "ask": "classify"}, [b"photo"])
    eventually(lambda: len(sent) == 11)
    assert sent[-1] == {"id": 11, "answer": {}}
