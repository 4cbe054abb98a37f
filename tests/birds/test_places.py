"""A bounded number of photos in flight; slow and vanished clients take no place."""

import json
import threading

import anyio
import httpx
import numpy as np
import pytest
from anyio.to_thread import run_sync
from fastapi import Request
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from birds import api, photo, places
from birds.classifier import Classifier
from birds.places import Places
from birds.problems import Problem
from birds.settings import Settings
from tests.birds.test_api import problem
from tests.birds.test_photo import QUARTERS, png

DATA = png(QUARTERS)
PATIENCE = 30


def asked_by(receive) -> Request:
    return Request({"type": "http", "method": "POST", "headers": [], "log": {}}, receive)


async def stays():
    await anyio.sleep_forever()


class Gate:
    """Photos that wait to be prepared until they are let through."""

    def __init__(self, monkeypatch):
        self.open, self.seen, self.most = threading.Event(), 0, 0
        self.lock, self.inside, read = threading.Lock(), 0, photo.read

        def wait(data, size, filter=photo.FILTER):
            if data != DATA:  # the classifier's own drawn photo
                return read(data, size, filter)
            with self.lock:
                self.seen += 1
                self.inside += 1
                self.most = max(self.most, self.inside)
            assert self.open.wait(PATIENCE)
            with self.lock:
                self.inside -= 1
            return read(data, size, filter)

        monkeypatch.setattr(photo, "read", wait)

    async def until(self, holds):
        """Wait until `holds()`."""
        with anyio.fail_after(PATIENCE):
            while not holds():
                await anyio.sleep(0.005)


@pytest.fixture
def gate(monkeypatch):
    return Gate(monkeypatch)


def asking(model, run, in_flight: int = 3, at_once: int = 2):
    """Let `run(client, places)` ask an app with few places, many things at a time."""
    app = api.create_app(model, Settings(at_once=at_once, in_flight=in_flight))

    async def main():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
            return await run(client, app.state.places)

    return anyio.run(main)


def test_beyond_the_photos_in_flight_the_answer_is_busy_at_once(model, gate):
    async def run(client, places):
        answers = []

        async def ask():
            answers.append(await client.post("/api/classify", content=DATA))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            await gate.until(lambda: places.taken == 3 and gate.seen == 2)
            refused = await client.post("/api/classify", content=DATA)
            assert gate.seen == 2
            gate.open.set()
        problem(refused, 503, "busy")
        assert refused.headers["retry-after"] == "1"
        assert [each.status_code for each in answers] == [200] * 3
        assert gate.most == 2  # the third waited for one of two workers
        assert places.taken == 0
        assert (await client.post("/api/classify", content=DATA)).status_code == 200

    asking(model, run)


def test_a_request_beyond_them_is_refused_before_its_body_is_read(model, gate):
    read = []

    async def body():
        read.append(True)
        yield DATA

    async def run(client, places):
        with places.one(), places.one(), places.one():
            refused = await client.post("/api/classify", content=body())
        problem(refused, 503, "busy")
        assert read == []

    asking(model, run)


def test_a_refusal_is_logged_under_its_route(model, caplog):
    async def run(client, places):
        with caplog.at_level("INFO", "fieldmark.requests"), places.one():
            await client.post("/api/classify?top=1", content=DATA)
        line = json.loads(caplog.messages[-1])
        assert (line["route"], line["status"]) == ("/api/classify", 503)
        assert line["problem"] == "busy"

    asking(model, run, in_flight=1)


def test_a_burst_may_wait_and_a_crowd_may_not(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(places.time, "monotonic", lambda: clock[0])
    room = Places(at_once=1, in_flight=3)
    with room.one():
        with room.one(), room.one(), pytest.raises(Problem):
            room.check()
        clock[0] += 0.5
        with pytest.raises(Problem):  # one was refused just now: none waits
            room.check()
        clock[0] += 0.5
        with pytest.raises(Problem):  # the crowd is still there
            room.check()
        clock[0] += 1
        room.check()  # it has left
    with room.one():
        room.check()


def test_a_lone_photo_gets_all_threads_and_one_among_others_its_own(model, monkeypatch):
    seen, predict = [], Classifier.predict

    def spy(classifier, pixels, crowded=False):
        seen.append(crowded)
        return predict(classifier, pixels, crowded)

    monkeypatch.setattr(Classifier, "predict", spy)

    async def run(client, places):
        seen.clear()  # the check at load
        await client.post("/api/classify", content=DATA)
        with places.one():
            await client.post("/api/classify", content=DATA)
        assert seen == [False, True]

    asking(model, run)


def test_both_sessions_give_the_same_answer(model):
    classifier = Classifier(model, threads=2)
    pixels = classifier.read(DATA).pixels[None]
    for alone, beside in zip(
        classifier.predict(pixels), classifier.predict(pixels, crowded=True), strict=True
    ):
        np.testing.assert_allclose(alone, beside, atol=1e-5)


def test_a_form_has_one_of_its_photos_in_flight_at_a_time(model, gate):
    async def run(client, places):
        answers = []

        async def ask(count):
            files = [("photo", ("a.png", DATA))] * count
            answers.append(await client.post("/api/classify", files=files))

        async with anyio.create_task_group() as group:
            group.start_soon(ask, 5)
            await gate.until(lambda: gate.seen == 1)
            assert places.taken == 1
            group.start_soon(ask, 5)
            await gate.until(lambda: gate.seen == 2)
            assert places.taken == 2
            gate.open.set()
        assert [len(each.json()["results"]) for each in answers] == [5, 5]
        assert (gate.seen, gate.most, places.taken) == (10, 2, 0)

    asking(model, run)


def test_a_photo_that_fails_gives_its_place_back(model):
    client = TestClient(api.create_app(model, Settings(at_once=1, in_flight=1)))
    for _ in range(3):
        problem(client.post("/api/classify", content=b"Dear bird,"), 415, "not-a-photo")
    assert client.app.state.places.taken == 0


def test_a_client_that_sends_slowly_takes_no_place(model):
    async def run(client, places):
        sent = anyio.Event()

        async def slowly():
            yield DATA[:10]
            await sent.wait()
            yield DATA[10:]

        async def receive():
            parts.append(await anext(body, b""))
            return {"type": "http.request", "body": parts[-1], "more_body": len(parts) < 2}

        parts, body, answers = [], slowly(), []

        async def send(message):
            answers.append(message)

        scope = {"type": "http", "method": "POST", "path": "/api/classify", "headers": []}
        scope |= {"query_string": b"", "scheme": "http"}
        async with anyio.create_task_group() as group:
            group.start_soon(client._transport.app, scope, receive, send)
            with anyio.fail_after(PATIENCE):
                while places.held != 10:
                    await anyio.sleep(0.005)
            assert places.taken == 0
            assert (await client.post("/api/classify", content=DATA)).status_code == 200
            sent.set()
        assert answers[0]["status"] == 200
        assert (places.taken, places.held) == (0, 0)

    asking(model, run, in_flight=1)


class Long:
    """Work that begins, and ends when it is told to."""

    def __init__(self):
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.end.wait(PATIENCE)


async def in_hand(places, receive, task, *details):
    with places.one():
        return await places.work(asked_by(receive), task, *details)


def test_a_client_that_leaves_while_it_waits_is_never_worked_for():
    places, worked, long = Places(1, 2), [], Long()

    async def main():
        left = anyio.Event()

        async def leaves():
            await left.wait()
            return {"type": "http.disconnect"}

        async with anyio.create_task_group() as group:
            group.start_soon(in_hand, places, stays, long)
            assert await run_sync(long.begun.wait, PATIENCE)

            async def second():
                with pytest.raises(ClientDisconnect):
                    await in_hand(places, leaves, worked.append, True)
                long.end.set()

            group.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            left.set()
        assert await in_hand(places, stays, lambda: "next") == "next"

    anyio.run(main)
    assert worked == []
    assert places.taken == 0


def test_work_that_has_begun_is_finished_though_its_client_leaves():
    places, long = Places(1, 2), Long()

    async def main():
        left = anyio.Event()

        async def leaves():
            await left.wait()
            return {"type": "http.disconnect"}

        with places.one():  # so that the other one is watched
            async with anyio.create_task_group() as group:
                group.start_soon(in_hand, places, leaves, long)
                assert await run_sync(long.begun.wait, PATIENCE)
                left.set()
                await anyio.wait_all_tasks_blocked()
                assert places.taken == 2
                long.end.set()
        assert places.taken == 0

    anyio.run(main)


def test_who_waits_and_stays_gets_the_error_of_his_own_photo():
    async def main():
        places, failed, long = Places(1, 2), [], Long()

        def fail():
            raise photo.NotAPhoto("It is a letter.")

        async with anyio.create_task_group() as group:
            group.start_soon(in_hand, places, stays, long)
            assert await run_sync(long.begun.wait, PATIENCE)

            async def second():
                with pytest.raises(photo.NotAPhoto):
                    await in_hand(places, stays, fail)
                failed.append(True)

            group.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            long.end.set()
        return failed

    assert anyio.run(main) == [True]


def test_places_are_counted_even_when_work_fails():
    places = Places(1, 1)
    with places.one(), pytest.raises(Problem), places.one():
        pass
    with pytest.raises(ZeroDivisionError), places.one():
        1 / 0  # noqa: B018
    assert places.taken == 0


def test_a_photo_is_computed_by_as_many_threads_as_there_are_workers(model):
    classifier = Classifier(model, threads=3)
    assert classifier.session.get_session_options().intra_op_num_threads == 3
    assert classifier.beside.get_session_options().intra_op_num_threads == 1
    app = api.create_app(model, Settings(at_once=1, in_flight=2))
    assert app.state.classifier.session.get_session_options().intra_op_num_threads == 1
