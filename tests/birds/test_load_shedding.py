"""A limited number of photos in flight; slow and disconnected clients hold no slot."""

import json
from functools import partial
from types import SimpleNamespace

import anyio
import httpx
import pytest

from birds.api import create_app
from birds.classifier import Classifier
from birds.http import load_shedding
from birds.http.load_shedding import Slots
from birds.http.problems import Problem
from birds.http.settings import Settings
from birds.photo import TOO_SLOW, PhotoTooSlow
from birds.workers.task import DecoderBusy
from tests.birds.photos import PNG
from tests.birds.problems import check_problem
from tests.decoders import TIMEOUT, HeldDecoder, InlineDecoder


@pytest.fixture
def gate():
    decoder = HeldDecoder()
    yield decoder
    decoder.open.set()


async def until(condition):
    with anyio.fail_after(TIMEOUT):
        while not condition():
            await anyio.sleep(0.005)


def run_with_app(model, test, decoder=None, max_in_flight: int = 3, workers: int = 2):
    """Run the coroutine function `test(client, slots)` with an app that has few slots."""
    settings = Settings(workers=workers, max_in_flight=max_in_flight)
    app = create_app(model, settings, decoder=decoder)

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

    run_with_app(model, test, gate)


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
    monkeypatch.setattr(load_shedding, "time", SimpleNamespace(monotonic=lambda: now[0]))
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

    run_with_app(model, test, gate)


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
            if not messages:
                await anyio.sleep_forever()
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


@pytest.mark.parametrize("queued", [False, True])
def test_a_client_that_leaves_frees_its_place_and_ends_the_work(model, gate, queued):
    async def test(client, slots):
        left = anyio.Event()
        messages = [{"type": "http.request", "body": PNG}]

        async def receive():
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            raise AssertionError("nobody is there")

        scope = {"type": "http", "method": "POST", "path": "/api/classify", "headers": []}
        scope |= {"query_string": b"", "scheme": "http"}
        async with anyio.create_task_group() as group:
            if queued:
                for _ in range(2):
                    group.start_soon(partial(client.post, "/api/classify", content=PNG))
                await until(lambda: gate.started == 2)
            others = slots.in_flight
            group.start_soon(client._transport.app, scope, receive, send)
            await until(lambda: len(gate.futures) == others + 1)
            left.set()
            await until(lambda: slots.in_flight == others)
            assert gate.futures[-1].cancelled() == queued  # threads cannot be killed; workers can
            gate.open.set()

    run_with_app(model, test, gate)


def test_a_photo_that_finds_no_worker_for_large_ones_may_come_again(model):
    class BusyDecoder(InlineDecoder):
        def submit(self, function, data, *arguments, patience):
            def fail(_):
                raise DecoderBusy

            return super().submit(fail, data)

    async def test(client, slots):
        check_problem(await client.post("/api/classify", content=PNG), 503, "busy")
        both = await client.post("/api/classify", files=[("photo", ("a.png", PNG))] * 2)
        assert [result["type"] for result in both.json()["results"]] == ["urn:fieldmark:busy"] * 2

    run_with_app(model, test, BusyDecoder())


def test_after_two_photos_that_are_too_slow_the_rest_of_a_form_is_not_decoded(model):
    decoded = []

    class SlowDecoder(InlineDecoder):
        def submit(self, function, data, *arguments, patience):
            def fail(*_):
                raise PhotoTooSlow(TOO_SLOW)

            decoded.append(data)
            return super().submit(fail if data == b"slow" else function, data, *arguments)

    async def test(client, slots):
        photos = [b"slow", PNG, b"slow", b"slow", PNG]
        files = [("photo", ("a.png", data)) for data in photos]
        response = await client.post("/api/classify", files=files)
        slow = "urn:fieldmark:photo-too-slow"
        kinds = [result.get("type") for result in response.json()["results"]]
        assert kinds == [slow, None, slow, slow, slow]
        assert decoded == photos[:3]
        check_problem(await client.post("/api/classify", content=b"slow"), 422, "photo-too-slow")

    run_with_app(model, test, SlowDecoder())


def test_slots_are_released_after_errors():
    slots = Slots(1, 1)
    with slots.acquire(), pytest.raises(Problem), slots.acquire():
        pass
    with pytest.raises(ZeroDivisionError), slots.acquire():
        1 / 0  # noqa: B018
    assert slots.in_flight == 0
