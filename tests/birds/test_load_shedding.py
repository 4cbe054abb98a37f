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

from birds import api, photo
from birds.classifier import Classifier
from birds.http import load_shedding
from birds.http.load_shedding import Slots
from birds.http.problems import Problem
from birds.http.settings import Settings
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
        self.lock, self.inside, read = threading.Lock(), 0, photo.prepare_photo

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

        monkeypatch.setattr(photo, "prepare_photo", wait)

    async def until(self, holds):
        """Wait until `holds()`."""
        with anyio.fail_after(PATIENCE):
            while not holds():
                await anyio.sleep(0.005)


@pytest.fixture
def gate(monkeypatch):
    return Gate(monkeypatch)


def asking(model, run, max_in_flight: int = 3, workers: int = 2):
    """Let `run(client, slots)` ask an app with few slots, many things at a time."""
    app = api.create_app(model, Settings(workers=workers, max_in_flight=max_in_flight))

    async def main():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
            return await run(client, app.state.slots)

    return anyio.run(main)


def test_beyond_the_photos_in_flight_the_answer_is_busy_at_once(model, gate):
    async def run(client, slots):
        answers = []

        async def ask():
            answers.append(await client.post("/api/classify", content=DATA))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            await gate.until(lambda: slots.in_flight == 3 and gate.seen == 2)
            refused = await client.post("/api/classify", content=DATA)
            assert gate.seen == 2
            gate.open.set()
        problem(refused, 503, "busy")
        assert refused.headers["retry-after"] == "1"
        assert [each.status_code for each in answers] == [200] * 3
        assert gate.most == 2  # the third waited for one of two workers
        assert slots.in_flight == 0
        assert (await client.post("/api/classify", content=DATA)).status_code == 200

    asking(model, run)


def test_a_request_beyond_them_is_refused_before_its_body_is_read(model, gate):
    read = []

    async def body():
        read.append(True)
        yield DATA

    async def run(client, slots):
        with slots.acquire(), slots.acquire(), slots.acquire():
            refused = await client.post("/api/classify", content=body())
        problem(refused, 503, "busy")
        assert read == []

    asking(model, run)


def test_a_refusal_is_logged_under_its_route(model, caplog):
    async def run(client, slots):
        with caplog.at_level("INFO", "fieldmark.requests"), slots.acquire():
            await client.post("/api/classify?top=1", content=DATA)
        line = json.loads(caplog.messages[-1])
        assert (line["route"], line["status"]) == ("/api/classify", 503)
        assert line["problem"] == "busy"

    asking(model, run, max_in_flight=1)


def test_a_burst_may_wait_and_a_crowd_may_not(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(load_shedding.time, "monotonic", lambda: clock[0])
    room = Slots(workers=1, max_in_flight=3)
    with room.acquire():
        with room.acquire(), room.acquire(), pytest.raises(Problem):
            room.check_free()
        clock[0] += 0.5
        with pytest.raises(Problem):  # one was refused just now: none waits
            room.check_free()
        clock[0] += 0.5
        with pytest.raises(Problem):  # the crowd is still there
            room.check_free()
        clock[0] += 1
        room.check_free()  # it has left
    with room.acquire():
        room.check_free()


def test_a_lone_photo_gets_all_threads_and_one_among_others_its_own(model, monkeypatch):
    seen, predict = [], Classifier.predict

    def spy(classifier, pixels, single_thread=False):
        seen.append(single_thread)
        return predict(classifier, pixels, single_thread)

    monkeypatch.setattr(Classifier, "predict", spy)

    async def run(client, slots):
        seen.clear()  # the check at load
        await client.post("/api/classify", content=DATA)
        with slots.acquire():
            await client.post("/api/classify", content=DATA)
        assert seen == [False, True]

    asking(model, run)


def test_both_sessions_give_the_same_answer(model):
    classifier = Classifier(model, threads=2)
    pixels = classifier.prepare_photo(DATA).pixels[None]
    for alone, beside in zip(
        classifier.predict(pixels), classifier.predict(pixels, single_thread=True), strict=True
    ):
        np.testing.assert_allclose(alone, beside, atol=1e-5)


def test_a_form_has_one_of_its_photos_in_flight_at_a_time(model, gate):
    async def run(client, slots):
        answers = []

        async def ask(count):
            files = [("photo", ("a.png", DATA))] * count
            answers.append(await client.post("/api/classify", files=files))

        async with anyio.create_task_group() as group:
            group.start_soon(ask, 5)
            await gate.until(lambda: gate.seen == 1)
            assert slots.in_flight == 1
            group.start_soon(ask, 5)
            await gate.until(lambda: gate.seen == 2)
            assert slots.in_flight == 2
            gate.open.set()
        assert [len(each.json()["results"]) for each in answers] == [5, 5]
        assert (gate.seen, gate.most, slots.in_flight) == (10, 2, 0)

    asking(model, run)


def test_a_photo_that_fails_gives_its_place_back(model):
    client = TestClient(api.create_app(model, Settings(workers=1, max_in_flight=1)))
    for _ in range(3):
        problem(client.post("/api/classify", content=b"Dear bird,"), 415, "not-a-photo")
    assert client.app.state.slots.in_flight == 0


def test_a_client_that_sends_slowly_takes_no_place(model):
    async def run(client, slots):
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
                while slots.buffered_bytes != 10:
                    await anyio.sleep(0.005)
            assert slots.in_flight == 0
            assert (await client.post("/api/classify", content=DATA)).status_code == 200
            sent.set()
        assert answers[0]["status"] == 200
        assert (slots.in_flight, slots.buffered_bytes) == (0, 0)

    asking(model, run, max_in_flight=1)


class Long:
    """Work that begins, and ends when it is told to."""

    def __init__(self):
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.end.wait(PATIENCE)


async def in_hand(slots, receive, task, *details):
    with slots.acquire():
        return await slots.run(asked_by(receive), task, *details)


def test_a_client_that_leaves_while_it_waits_is_never_worked_for():
    slots, worked, long = Slots(1, 2), [], Long()

    async def main():
        left = anyio.Event()

        async def leaves():
            await left.wait()
            return {"type": "http.disconnect"}

        async with anyio.create_task_group() as group:
            group.start_soon(in_hand, slots, stays, long)
            assert await run_sync(long.begun.wait, PATIENCE)

            async def second():
                with pytest.raises(ClientDisconnect):
                    await in_hand(slots, leaves, worked.append, True)
                long.end.set()

            group.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            left.set()
        assert await in_hand(slots, stays, lambda: "next") == "next"

    anyio.run(main)
    assert worked == []
    assert slots.in_flight == 0


def test_work_that_has_begun_is_finished_though_its_client_leaves():
    slots, long = Slots(1, 2), Long()

    async def main():
        left = anyio.Event()

        async def leaves():
            await left.wait()
            return {"type": "http.disconnect"}

        with slots.acquire():  # so that the other one is watched
            async with anyio.create_task_group() as group:
                group.start_soon(in_hand, slots, leaves, long)
                assert await run_sync(long.begun.wait, PATIENCE)
                left.set()
                await anyio.wait_all_tasks_blocked()
                assert slots.in_flight == 2
                long.end.set()
        assert slots.in_flight == 0

    anyio.run(main)


def test_who_waits_and_stays_gets_the_error_of_his_own_photo():
    async def main():
        slots, failed, long = Slots(1, 2), [], Long()

        def fail():
            raise photo.NotAPhoto("It is a letter.")

        async with anyio.create_task_group() as group:
            group.start_soon(in_hand, slots, stays, long)
            assert await run_sync(long.begun.wait, PATIENCE)

            async def second():
                with pytest.raises(photo.NotAPhoto):
                    await in_hand(slots, stays, fail)
                failed.append(True)

            group.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            long.end.set()
        return failed

    assert anyio.run(main) == [True]


def test_places_are_counted_even_when_work_fails():
    slots = Slots(1, 1)
    with slots.acquire(), pytest.raises(Problem), slots.acquire():
        pass
    with pytest.raises(ZeroDivisionError), slots.acquire():
        1 / 0  # noqa: B018
    assert slots.in_flight == 0


def test_a_photo_is_computed_by_as_many_threads_as_there_are_workers(model):
    classifier = Classifier(model, threads=3)
    assert classifier.session.get_session_options().intra_op_num_threads == 3
    assert classifier.single_thread_session.get_session_options().intra_op_num_threads == 1
    app = api.create_app(model, Settings(workers=1, max_in_flight=2))
    assert app.state.classifier.session.get_session_options().intra_op_num_threads == 1
