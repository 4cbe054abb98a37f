"""A limited number of photos in flight; slow and disconnected clients hold no slot."""

import json
import threading

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync
from fastapi import Request
from starlette.requests import ClientDisconnect

from birds import photo
from birds.api import create_app
from birds.classifier import Classifier
from birds.http import load_shedding
from birds.http.load_shedding import Slots
from birds.http.problems import Problem
from birds.http.settings import Settings
from tests.birds.photos import PNG
from tests.birds.problems import check_problem

TIMEOUT = 30


class Gate:
    """Holds photos in their preparation until `open` is set, and counts them."""

    def __init__(self, monkeypatch):
        self.open, self.lock = threading.Event(), threading.Lock()
        self.started = self.inside = self.most = 0
        prepare = photo.prepare_photo

        def wait(data, size, filter=photo.FILTER):
            if data != PNG:  # the classifier's own drawn photo
                return prepare(data, size, filter)
            with self.lock:
                self.started += 1
                self.inside += 1
                self.most = max(self.most, self.inside)
            assert self.open.wait(TIMEOUT)
            with self.lock:
                self.inside -= 1
            return prepare(data, size, filter)

        monkeypatch.setattr(photo, "prepare_photo", wait)


@pytest.fixture
def gate(monkeypatch):
    return Gate(monkeypatch)


async def until(condition):
    with anyio.fail_after(TIMEOUT):
        while not condition():
            await anyio.sleep(0.005)


def run_with_app(model, test, max_in_flight: int = 3, workers: int = 2):
    """Run the coroutine function `test(client, slots)` with an app that has few slots."""
    app = create_app(model, Settings(workers=workers, max_in_flight=max_in_flight))

    async def main():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
            await test(client, app.state.slots)
        assert (app.state.slots.in_flight, app.state.bodies.used) == (0, 0)

    anyio.run(main)


def test_photos_beyond_the_limit_are_rejected_at_once(model, gate):
    async def test(client, slots):
        responses = []

        async def send():
            responses.append(await client.post("/api/classify", content=PNG))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(send)
            await until(lambda: slots.in_flight == 3 and gate.started == 2)
            rejected = await client.post("/api/classify", content=PNG)
            assert gate.started == 2
            check_problem(await client.get("/api/health"), 503, "busy")
            assert client._transport.app.state.bodies.used > 3 * len(PNG)
            gate.open.set()
        check_problem(rejected, 503, "busy")
        assert rejected.headers["retry-after"] == "1"
        assert [response.status_code for response in responses] == [200] * 3
        assert gate.most == 2  # the third waited for one of two workers
        assert (await client.post("/api/classify", content=PNG)).status_code == 200
        health = (await client.get("/api/health")).json()
        assert (health["status"], health["refused"], health["buffered_bytes"]) == ("ready", 1, 0)

    run_with_app(model, test)


def test_a_rejected_body_is_not_read_and_logged_with_its_route(model, caplog):
    chunks = []

    async def body():
        chunks.append(PNG)
        yield PNG

    async def test(client, slots):
        with caplog.at_level("INFO", "fieldmark.requests"), slots.acquire():
            rejected = await client.post("/api/classify?top=1", content=body())
        check_problem(rejected, 503, "busy")
        assert chunks == []
        line = json.loads([r.message for r in caplog.records if r.name == "fieldmark.requests"][-1])
        assert (line["route"], line["problem"]) == ("/api/classify", "busy")

    run_with_app(model, test, max_in_flight=1)


def test_bursts_queue_and_sustained_overload_is_rejected(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(load_shedding.time, "monotonic", lambda: now[0])
    slots = Slots(workers=1, max_in_flight=3)
    with slots.acquire():
        with slots.acquire(), slots.acquire(), pytest.raises(Problem):
            slots.check_free()
        for seconds in (0.5, 0.5):  # less than RETRY_AFTER since the last rejection
            now[0] += seconds
            with pytest.raises(Problem):
                slots.check_free()
        now[0] += load_shedding.RETRY_AFTER
        slots.check_free()
    with slots.acquire():
        slots.check_free()


def test_a_photo_is_computed_by_all_threads_alone_and_by_one_among_others(model, monkeypatch):
    calls, predict = [], Classifier.predict

    def record(classifier, pixels, single_thread=False):
        calls.append(single_thread)
        return predict(classifier, pixels, single_thread)

    async def test(client, slots):
        monkeypatch.setattr(Classifier, "predict", record)
        await client.post("/api/classify", content=PNG)
        with slots.acquire():
            await client.post("/api/classify", content=PNG)
        assert calls == [False, True]

    run_with_app(model, test)


def test_a_form_has_one_of_its_photos_in_flight_at_a_time(model, gate):
    async def test(client, slots):
        responses = []

        async def send(count):
            files = [("photo", ("a.png", PNG))] * count
            responses.append(await client.post("/api/classify", files=files))

        async with anyio.create_task_group() as group:
            for number in (1, 2):
                group.start_soon(send, 5)
                await until(lambda number=number: gate.started == number)
                assert slots.in_flight == number
            gate.open.set()
        assert [len(response.json()["results"]) for response in responses] == [5, 5]
        assert (gate.started, gate.most) == (10, 2)

    run_with_app(model, test)


def test_a_photo_that_fails_releases_its_slot(model):
    async def test(client, slots):
        for _ in range(3):
            response = await client.post("/api/classify", content=b"Dear bird,")
            check_problem(response, 415, "not-a-photo")

    run_with_app(model, test, max_in_flight=1, workers=1)


def test_a_client_that_sends_slowly_holds_no_slot(model):
    async def test(client, slots):
        sent, messages, responses = anyio.Event(), [PNG[:10], PNG[10:]], []

        async def receive():
            if len(messages) == 1:
                await sent.wait()
            return {"type": "http.request", "body": messages.pop(0), "more_body": bool(messages)}

        async def send(message):
            responses.append(message)

        scope = {"type": "http", "method": "POST", "path": "/api/classify", "headers": []}
        scope |= {"query_string": b"", "scheme": "http"}
        async with anyio.create_task_group() as group:
            group.start_soon(client._transport.app, scope, receive, send)
            await until(lambda: client._transport.app.state.bodies.used > 10)
            assert slots.in_flight == 0
            assert (await client.post("/api/classify", content=PNG)).status_code == 200
            sent.set()
        assert responses[0]["status"] == 200

    run_with_app(model, test, max_in_flight=1)


class LongTask:
    """A task that says when it has started, and ends when `end` is set."""

    def __init__(self):
        self.started, self.end = threading.Event(), threading.Event()

    def __call__(self):
        self.started.set()
        assert self.end.wait(TIMEOUT)


class Client:
    """A client that waits, and can disconnect."""

    def __init__(self):
        self.gone = anyio.Event()

    async def run(self, slots, task, *arguments):
        async def receive():
            await self.gone.wait()
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "POST", "headers": [], "log": {}}
        with slots.acquire():
            return await slots.run(Request(scope, receive), task, *arguments)


def test_a_client_that_leaves_the_queue_is_not_processed():
    slots, processed, task = Slots(1, 2), [], LongTask()

    async def main():
        waiting, leaving = Client(), Client()

        async def leave():
            with pytest.raises(ClientDisconnect):
                await leaving.run(slots, processed.append, True)
            task.end.set()

        async with anyio.create_task_group() as group:
            group.start_soon(waiting.run, slots, task)
            assert await run_sync(task.started.wait, TIMEOUT)
            group.start_soon(leave)
            await anyio.wait_all_tasks_blocked()
            leaving.gone.set()
        assert await Client().run(slots, lambda: "next") == "next"

    anyio.run(main)
    assert processed == []
    assert slots.in_flight == 0


def test_a_task_that_has_started_is_finished_though_its_client_leaves():
    slots, task = Slots(1, 2), LongTask()

    async def main():
        leaving = Client()
        with slots.acquire():  # so that the queue is watched for disconnects
            async with anyio.create_task_group() as group:
                group.start_soon(leaving.run, slots, task)
                assert await run_sync(task.started.wait, TIMEOUT)
                leaving.gone.set()
                await anyio.wait_all_tasks_blocked()
                assert slots.in_flight == 2
                task.end.set()

    anyio.run(main)
    assert slots.in_flight == 0


def test_a_client_in_the_queue_gets_the_error_of_its_own_task():
    slots, task, raised = Slots(1, 2), LongTask(), []

    def fail():
        raise photo.NotAPhoto("It is a letter.")

    async def wait_for_error():
        with pytest.raises(photo.NotAPhoto):
            await Client().run(slots, fail)
        raised.append(True)

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(Client().run, slots, task)
            assert await run_sync(task.started.wait, TIMEOUT)
            group.start_soon(wait_for_error)
            await anyio.wait_all_tasks_blocked()
            task.end.set()

    anyio.run(main)
    assert raised == [True]


def test_slots_are_released_after_errors():
    slots = Slots(1, 1)
    with slots.acquire(), pytest.raises(Problem), slots.acquire():
        pass
    with pytest.raises(ZeroDivisionError), slots.acquire():
        1 / 0  # noqa: B018
    assert slots.in_flight == 0
