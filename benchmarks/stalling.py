"""Hold connections that send a part of a request and stall, in a process of their own."""

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from urllib.parse import urlsplit

from birds import photo

PAUSE = 2  # seconds between the bytes of headers that trickle
REOPENED = 10  # seconds after a connection was ended
LARGE = 11  # bodies of the largest size
SMALL = 2**18  # bytes of the others


async def stall(url: str, data: bytes, trickles: bool, ends: Counter) -> None:
    """Send a part of a request, again whenever the function ends it; count how it does."""
    address = urlsplit(url)
    while True:
        end = "closed"
        try:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(data)
                response = asyncio.ensure_future(reader.read(2**16))
                while not (await asyncio.wait({response}, timeout=PAUSE if trickles else None))[0]:
                    writer.write(b"a")
                if head := response.result():
                    end = head.split()[1].decode()
            finally:
                writer.transport.abort()
        except OSError:
            end = "reset"
        ends[end] += 1
        await asyncio.sleep(REOPENED)


def hold_connections(url: str, connections: int, results: Queue, started, ended) -> None:
    """Keep connections open, in a process of its own, until `ended` is set; count how they end."""
    ends = {"headers": Counter(), "bodies": Counter()}

    async def hold() -> None:
        head = f"POST {urlsplit(url).path} HTTP/1.1\r\nhost: a\r\n".encode()
        tasks = []
        for number in range(connections):
            if number % 2:
                stalling = stall(url, head + b"x: ", number % 4 == 1, ends["headers"])
            else:
                size = photo.MAX_BYTES if number < 2 * LARGE else SMALL
                body = b"content-length: %d\r\n\r\n%b" % (size, bytes(size - 1))
                stalling = stall(url, head + body, False, ends["bodies"])
            tasks.append(asyncio.create_task(stalling))
        await asyncio.sleep(1)
        started.set()
        while not ended.is_set():
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(hold())
    results.put({kind: dict(counts) for kind, counts in ends.items()})


@contextmanager
def stalled_connections(url: str, connections: int) -> Iterator[dict]:
    """Hold connections during the block; afterwards the yielded dict says how they ended."""
    context, ends = multiprocessing.get_context("spawn"), {}
    results, started, ended = context.Queue(), context.Event(), context.Event()
    arguments = (url, connections, results, started, ended)
    process = context.Process(target=hold_connections, args=arguments)
    process.start()
    started.wait(60)
    try:
        yield ends
    finally:
        ended.set()
        ends |= results.get(timeout=60)
        process.join()
