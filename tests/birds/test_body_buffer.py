"""The memory of all bodies, and the speed that each needs to keep its part."""

import asyncio

import anyio
import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from birds import process
from birds.api import create_app
from birds.http import body_buffer
from birds.http.body_buffer import BLOCK, OVERHEAD, BodyBuffer
from birds.http.problems import Problem
from birds.http.request_body import read_photos
from tests.birds.problems import check_problem

SIZE = 2**20
TIMEOUT = 30


@pytest.fixture
def clock(monkeypatch):
    """Let tests set the clock forward; deadlines then are later than the event loop's time."""
    offset, now = [0], anyio.current_time
    monkeypatch.setattr(anyio, "current_time", lambda: now() + offset[0])
    return offset


class Sender:
    """A client whose body arrives in the chunks that `send` gives it."""

    def __init__(self, bodies: BodyBuffer):
        self.bodies, self.result = bodies, None
        self.messages = asyncio.Queue()

    async def send(self, size: int, more: bool = True):
        message = {"type": "http.request", "body": bytes(size), "more_body": more}
        self.messages.put_nowait(message)
        await anyio.wait_all_tasks_blocked()

    async def receive_all(self):
        scope = {"type": "http", "method": "POST", "headers": [], "log": {}}
        try:
            with self.bodies.open() as body:
                ((data,), _) = await read_photos(Request(scope, self.messages.get), body)
                self.result = len(data)
        except Problem as problem:
            self.result = problem.status


def run(test, capacity: int = 4 * (SIZE + OVERHEAD)):
    """Run `test(start)` with a buffer; start() returns a new Sender."""
    bodies = BodyBuffer(capacity)

    async def main():
        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as group:

                async def start(*sizes):
                    sender = Sender(bodies)
                    group.start_soon(sender.receive_all)
                    for size in sizes:
                        await sender.send(size)
                    return sender

                await test(start)
                group.cancel_scope.cancel()
        assert bodies.used == 0

    anyio.run(main)


def results(senders):
    return [sender.result for sender in senders]


def test_a_complete_body_has_priority_over_unfinished_ones():
    async def test(start):
        unfinished = [await start(SIZE) for _ in range(4)]
        complete = await start()
        await complete.send(SIZE // 2, more=False)
        assert complete.result == SIZE // 2
        assert sorted(map(str, results(unfinished))) == ["408", "None", "None", "None"]

    run(test)


def test_stalled_bodies_give_way_to_those_that_arrive(clock):
    async def test(start):
        stalled = [await start(SIZE) for _ in range(3)]
        clock[0] += 3
        slow = await start(SIZE // 2)
        clock[0] += 2
        await slow.send(SIZE // 2 - 1)
        new = [await start(SIZE // 2, SIZE // 4) for _ in range(3)]
        assert results(stalled) == [408, 408, 408]
        assert results([slow, *new]) == [None] * 4
        await slow.send(1, more=False)
        assert slow.result == SIZE

    run(test)


def test_a_trickle_does_not_save_a_body_that_was_fast_at_first(clock):
    async def test(start):
        attackers = [await start(SIZE) for _ in range(4)]
        for _ in range(20):
            clock[0] += 0.25
            for attacker in attackers:
                await attacker.send(10)
        await start(SIZE // 2)
        assert results(attackers).count(408) == 1

    run(test, 4 * (SIZE + OVERHEAD + 1000))


async def trickle(clock, senders, rate: int, seconds: int = 8):
    """Let senders send `rate` bytes a second."""
    for _ in range(4 * seconds):
        clock[0] += 0.25
        for sender in senders:
            await sender.send(rate // 4)


def test_a_trickle_of_whole_blocks_gives_way_to_a_fast_body(clock):
    async def test(start):
        attackers = [await start(SIZE) for _ in range(4)]
        await trickle(clock, attackers, 20_000)
        await start(SIZE // 2)
        assert results(attackers).count(408) == 1

    run(test, 4 * (SIZE + OVERHEAD + 160_000))


def test_a_body_of_1_mb_a_second_has_priority_over_one_of_100_kb(clock):
    async def test(start):
        bodies = BodyBuffer()
        with bodies.open() as fast, bodies.open() as slow:
            for _ in range(40):
                clock[0] += 0.25
                fast.note(250_000, False)
                slow.note(25_000, False)
            now = anyio.current_time()
            assert fast.speed(now) == pytest.approx(1e6, rel=0.3)
            assert slow.speed(now) == pytest.approx(1e5, rel=0.5)

    run(test)


def test_dropped_bytes_do_not_count_as_speed(clock):
    async def test(start):
        with BodyBuffer().open() as body:
            body.note(SIZE, False)
            clock[0] += 4
            body.note(SIZE, False, is_dropped=True)
            assert body.speed(anyio.current_time()) < BLOCK / 3
            assert body.due > anyio.current_time() + 9  # but it may arrive to its end

    run(test)


def test_health_asks_with_the_speed_of_a_new_body(clock):
    capacity = 4 * (SIZE + OVERHEAD + 320_000)

    async def test(start):
        senders = [await start(SIZE) for _ in range(4)]
        bodies = senders[0].bodies
        await trickle(clock, senders, 40_000)
        late = await start(1000)
        assert (late.result, bodies.is_full()) == (503, True)
        clock[0] += 1  # they stall
        await start(1000)
        assert results(senders).count(408) == 1
        assert not bodies.is_full()

    run(test, capacity)


def test_bodies_of_similar_speed_do_not_displace_each_other():
    async def test(start):
        first = [await start(SIZE) for _ in range(4)]
        late = await start(SIZE // 2)
        assert late.result == 503
        assert results(first) == [None] * 4

    run(test)


def test_many_small_bodies_are_limited_too():
    async def test(start):
        senders = [await start(1) for _ in range(12)]
        assert results(senders) == [None] * 10 + [503] * 2

    run(test, 10 * (OVERHEAD + 1))


def test_memory_is_returned_to_the_system_after_many_bodies(monkeypatch):
    released = []
    monkeypatch.setattr(body_buffer, "IDLE", 0)
    monkeypatch.setattr(body_buffer, "MANY", SIZE)
    monkeypatch.setattr(process, "release_freed_memory", lambda: released.append(True))

    async def test(start):
        for size, expected in ((1, []), (SIZE, [True])):
            sender = await start()
            await sender.send(size, more=False)
            await anyio.sleep(0.01)
            assert released == expected

    run(test)


def test_memory_is_returned_once_after_several_bodies_and_not_between_them(monkeypatch):
    released = []
    monkeypatch.setattr(process, "release_freed_memory", lambda: released.append(True))

    async def test(start):
        sender = await start()
        bodies = sender.bodies
        for _ in range(3):
            sender = await start()
            await sender.send(3 * SIZE, more=False)
            assert bodies.used == 0
        timer = bodies.timer
        with bodies.open():
            assert timer.cancelled()
            assert bodies.timer is None
        monkeypatch.setattr(body_buffer, "IDLE", 0)
        for _ in range(2):
            with bodies.open():
                pass
        await anyio.sleep(0.01)
        assert released == [True]

    run(test)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"GRACE": 0.05}, 408, id="stalled"),
        pytest.param({"GRACE": 0.05, "MIN_RATE": 10_000}, 408, id="below the minimum rate"),
        pytest.param({"GRACE": 0.05, "MIN_RATE": 10}, 30, id="above the minimum rate"),
        pytest.param({"TIMEOUT": 0.1}, 408, id="too long in all"),
    ],
)
def test_a_body_needs_progress_and_an_end(monkeypatch, values, expected):
    async def test(start):
        sender = await start()
        for _ in range(29 if values.get("MIN_RATE") else 0):
            if sender.result is None:
                await sender.send(1)
                await anyio.sleep(0.01)
        if expected == 30:
            await sender.send(1, more=False)
        while sender.result is None:
            await anyio.sleep(0.005)
        assert sender.result == expected

    for name, value in values.items():
        monkeypatch.setattr(body_buffer, name, value)
    run(test)


def test_health_says_that_the_memory_is_taken_only_while_photos_are_refused(model, clock):
    app = create_app(model)
    bodies, client = app.state.bodies, TestClient(app)

    async def fill(*, is_complete):
        with bodies.open() as body:
            body.note(bodies.capacity - OVERHEAD, is_complete)
            body.reserve(bodies.capacity - OVERHEAD)
            clock[0] += 5
            response = await anyio.to_thread.run_sync(client.get, "/api/health")
            clock[0] -= 5
            return response

    check_problem(anyio.run(lambda: fill(is_complete=True)), 503, "busy")
    stalled = anyio.run(lambda: fill(is_complete=False))
    assert stalled.json()["buffered_bytes"] == bodies.capacity
