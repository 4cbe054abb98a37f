"""The limits of a connection: heads, chunks, pipelines, time, readers and their number."""

import asyncio
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from birds.server import __main__ as server_main
from birds.server import connection
from birds.server.connection import Connection

TIMEOUT = 10
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = b"POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


class App:
    """An ASGI app that records its requests and how each ended."""

    def __init__(self):
        self.paths, self.ends, self.go_on = [], [], asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.paths.append(scope["path"])
        message = {"more_body": scope["path"] == "/read"}
        while message.get("more_body"):
            message = await receive()
        if scope["path"] == "/leave":
            await receive()
            message = await receive()
        self.ends.append(message.get("type"))
        if scope["path"] == "/wait":
            await self.go_on.wait()
        body = bytes(2**25 if scope["path"] == "/large" else 2)
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def served():
    """Serve an App in this process; yield it with `open`, which connects."""
    app, state = App(), ServerState()
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
    address, writers = server.sockets[0].getsockname(), []

    async def open_connection(data: bytes = b""):
        reader, writer = await asyncio.open_connection(*address, limit=2**16)
        writers.append(writer)
        writer.write(data)
        return reader, writer

    try:
        yield SimpleNamespace(app=app, open=open_connection, connections=state.connections)
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        app.go_on.set()
        await wait_for(lambda: not state.connections and not state.tasks)


def run(test):
    """Run a coroutine function with a served App."""

    async def main():
        async with asyncio.timeout(TIMEOUT), served() as server:
            await test(server)

    asyncio.run(main())


async def status(reader) -> int:
    """Return the status of the next response."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split()[1])


async def get(server) -> int:
    reader, writer = await server.open(GET)
    found = await status(reader)
    writer.close()
    return found


async def wait_for(condition):
    while not condition():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("start", "part", "expected"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: ", b"a" * 1000, 431, id="one header"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"x:\r\n" * 250, 431, id="many headers"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"x" * 1000, 431, id="header name"),
        pytest.param(b"GET /", b"a" * 1000, 431, id="address"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 150, 400, id="small chunks"),
        pytest.param(CHUNKED + b"1;x=", b"a" * 1000, 400, id="chunk extension"),
        pytest.param(CHUNKED + b"1\r\nx\r\n0\r\nx: ", b"a" * 1000, 400, id="trailer"),
    ],
)
def test_all_but_bodies_is_limited_and_others_are_served_meanwhile(start, part, expected):
    async def test(server):
        reader, writer = await server.open(start)
        response = asyncio.create_task(status(reader))
        sent = 0
        while not response.done():
            writer.write(part * 50)
            await writer.drain()
            sent += 50 * len(part)
            assert await get(server) == 200
            assert sent < 10 * connection.MAX_HEAD
        assert response.result() == expected
        await wait_for(lambda: len(server.app.ends) == len(server.app.paths))

    run(test)


def test_a_chunked_body_of_ordinary_chunks_is_accepted():
    async def test(server):
        chunk = b"400\r\n" + bytes(1024) + b"\r\n"
        reader, _ = await server.open(CHUNKED + chunk * 4000 + b"0\r\n\r\n")
        assert await status(reader) == 200

    run(test)


@pytest.mark.parametrize("before", [b"", GET], ids=["first request", "second request"])
def test_a_head_that_trickles_is_ended_with_408(monkeypatch, before):
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.1)

    async def test(server):
        reader, writer = await server.open(before)
        if before:
            assert await status(reader) == 200
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        response = asyncio.create_task(status(reader))
        while not response.done():
            writer.write(b"a")
            await asyncio.sleep(0.01)
        assert response.result() == 408
        assert await reader.read() == b""
        assert len(server.app.paths) == bool(before)

    run(test)


@pytest.mark.parametrize("data", [b"", b"\r\n"], ids=["nothing", "an empty line"])
def test_a_connection_without_a_request_is_closed(monkeypatch, data):
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.05)
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.05)

    async def test(server):
        await server.open(data)
        await wait_for(lambda: server.connections)
        await wait_for(lambda: not server.connections)

    run(test)


def test_the_rest_of_a_body_after_its_response_has_a_deadline(monkeypatch):
    monkeypatch.setattr(connection, "REST_TIMEOUT", 0.1)

    async def test(server):
        reader, writer = await server.open(b"POST / HTTP/1.1\r\ncontent-length: 10000\r\n\r\n")
        assert await status(reader) == 200
        await wait_for(lambda: server.connections)
        while server.connections:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    run(test)


def test_a_client_may_finish_its_body_after_an_early_response():
    async def test(server):
        reader, writer = await server.open(b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n")
        assert await status(reader) == 200
        writer.write(bytes(100_000) + GET)
        assert await status(reader) == 200

    run(test)


def test_pipelined_requests_are_not_processed():
    async def test(server):
        reader, writer = await server.open(GET.replace(b"/ ", b"/wait ") + GET * 100)
        await wait_for(lambda: server.app.paths)
        writer.write(GET * 100_000)  # over a megabyte, which is discarded
        await writer.drain()
        server.app.go_on.set()
        assert await status(reader) == 200
        await wait_for(lambda: not server.connections)
        assert server.app.paths == ["/wait"]

    run(test)


def test_a_client_that_does_not_read_is_disconnected(monkeypatch):
    monkeypatch.setattr(connection, "SEND_TIMEOUT", 0.1)

    async def test(server):
        await server.open(GET.replace(b"/ ", b"/large "))
        await wait_for(lambda: server.connections)
        await wait_for(lambda: not server.connections)

    run(test)


def test_the_app_learns_at_once_that_a_client_left():
    async def test(server):
        _, writer = await server.open(GET.replace(b"/ ", b"/leave "))
        await wait_for(lambda: server.app.paths)
        writer.close()
        await wait_for(lambda: server.app.ends == ["http.disconnect"])

    run(test)


POST = b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"


@pytest.mark.parametrize("part", [b"", GET[:-2], POST], ids=["nothing", "half a head", "no body"])
def test_too_many_connections_end_those_without_a_request(monkeypatch, part):
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 10)

    async def test(server):
        working, _ = await server.open(GET.replace(b"/ ", b"/wait "))
        await wait_for(lambda: server.app.paths)
        half = [await server.open(part) for _ in range(30)]
        for _ in range(10):
            assert await get(server) == 200
        assert len(server.connections) <= 10
        assert await half[0][0].read() == b""
        server.app.go_on.set()
        assert await status(working) == 200

    run(test)


def test_a_connection_more_than_the_app_can_work_for_is_refused(monkeypatch):
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 2)

    async def test(server):
        for number in (1, 2):
            await server.open(GET.replace(b"/ ", b"/wait "))
            await wait_for(lambda number=number: len(server.app.paths) == number)
        assert await get(server) == 503

    run(test)


def test_bytes_that_are_not_http_get_400():
    async def test(server):
        reader, _ = await server.open(b"\x16\x03\x01\x02\x00\x01\x00")  # TLS
        assert await status(reader) == 400

    run(test)


def test_the_event_loop_is_the_same_where_uvloop_is_installed(monkeypatch):
    options = {}
    for name in ("configure_logging", "log_uncaught_errors", "allow_open_files"):
        monkeypatch.setattr(server_main, name, lambda: None)
    monkeypatch.setattr(uvicorn, "run", lambda app, **arguments: options.update(arguments))
    monkeypatch.setattr(sys, "argv", ["server"])
    server_main.main()
    assert options["loop"] == "asyncio"
