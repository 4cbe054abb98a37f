"""Ask a server for answers, many at a time, and stay out of its way: raw sockets, no parsing."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

LIMIT = 2**16


class Load(NamedTuple):
    """What a server did: seconds of each answer by status, how long all took, our own CPU time."""

    seconds: dict[int, list[float]]
    lasted: float
    own_cpu: float

    @property
    def throughput(self) -> float:
        """Answers with status 200 a second."""
        return len(self.seconds.get(200, [])) / self.lasted

    def quantile(self, share: float, status: int = 200) -> float:
        """Return the seconds within which a share of the answers came."""
        found = sorted(self.seconds.get(status, [float("nan")]))
        return found[min(len(found) - 1, int(share * len(found)))]

    def statuses(self) -> dict[int, int]:
        """Count the answers by status."""
        return dict(Counter({status: len(found) for status, found in self.seconds.items()}))


def request(url: str, body: bytes, kind: str = "image/jpeg") -> bytes:
    """Write a POST as it goes over the wire."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = f"POST {target} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: {kind}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Line:
    """One connection that is kept, and opened anew where the server closed it."""

    def __init__(self, url: str):
        self.place, self.writer = (urlsplit(url).hostname, urlsplit(url).port), None

    async def ask(self, message: bytes) -> int:
        """Send a request and return its status once the whole answer is here."""
        kept = self.writer is not None
        if not kept:
            self.reader, self.writer = await asyncio.open_connection(*self.place, limit=LIMIT)
        try:
            self.writer.write(message)
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if not kept or getattr(error, "partial", b""):
                raise
            self.close()  # the server had hung up on a connection that was idle
            return await self.ask(message)
        await self.reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head.split(maxsplit=2)[1])

    def close(self) -> None:
        """Hang up."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None


async def steadily(url: str, messages: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Let each of some clients ask, one request after the other."""
    return await measured(url, messages, seconds, clients, None)


async def at_rate(url: str, messages: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Ask so many times a second, whether or not earlier requests were answered."""
    return await measured(url, messages, seconds, None, rate)


async def measured(url, messages, seconds, clients, rate) -> Load:
    """Run clients in a circle, or arrivals at a rate, and keep the times of all answers."""
    found, started, cpu, spare = {}, time.perf_counter(), time.process_time(), []

    async def one(line: Line, message: bytes) -> None:
        begun = time.perf_counter()
        status = await line.ask(message)
        found.setdefault(status, []).append(time.perf_counter() - begun)

    async def client(number: int) -> None:
        line, turn = Line(url), number
        while time.perf_counter() - started < seconds:
            await one(line, messages[turn % len(messages)])
            turn += 1
        line.close()

    async def arrival(turn: int) -> None:
        line = spare.pop() if spare else Line(url)
        await one(line, messages[turn % len(messages)])
        spare.append(line)

    if rate is None:
        await asyncio.gather(*(client(number) for number in range(clients)))
    else:
        asked = []
        for turn in range(max(1, int(rate * seconds))):
            await asyncio.sleep(max(0, started + turn / rate - time.perf_counter()))
            asked.append(asyncio.create_task(arrival(turn)))
        await asyncio.gather(*asked)
    for line in spare:
        line.close()
    return Load(found, time.perf_counter() - started, time.process_time() - cpu)
