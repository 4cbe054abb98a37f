"""Send requests to a server from many connections, with as little CPU time as possible.

Raw sockets and no parsing beyond the status, since the client shares the CPUs with the server.
"""

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

LIMIT = 2**16  # bytes of a response's head


class Load:
    """Requests, and what a server did: `seconds` of each response by status.

    `duration` and `client_cpu` are the seconds of all and of the client's CPU.
    """

    def __init__(self, requests: Sequence[bytes]):
        self.requests, self.seconds = requests, {}
        self.started, self.cpu_started = time.perf_counter(), time.process_time()

    async def send(self, connection: "Connection", number: int) -> None:
        """Send the request whose turn it is."""
        sent = time.perf_counter()
        status = await connection.send(self.requests[number % len(self.requests)])
        now = time.perf_counter()
        self.seconds.setdefault(status, []).append(now - sent)
        self.duration, self.client_cpu = now - self.started, time.process_time() - self.cpu_started

    @property
    def throughput(self) -> float:
        """Responses with status 200 per second."""
        return len(self.seconds.get(200, [])) / self.duration

    def quantile(self, share: float, status: int = 200) -> float:
        """Return the seconds within which a share of the responses came."""
        times = sorted(self.seconds.get(status, [float("nan")]))
        return times[min(len(times) - 1, int(share * len(times)))]

    def status_counts(self) -> dict[int, int]:
        """Count the responses by status."""
        return {status: len(times) for status, times in self.seconds.items()}


def encode_request(
    url: str, body: bytes, media_type: str = "image/jpeg", headers: str = ""
) -> bytes:
    """Return a POST request as it is sent, with more `headers`, each ended by a line break."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = f"POST {target} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: {media_type}\r\n"
    return f"{head}{headers}content-length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """A connection that is kept open, and opened again after the server closed it."""

    def __init__(self, url: str):
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> int:
        """Send a request, and return its status once the whole response has arrived."""
        reused = self.streams is not None
        if self.streams is None:
            self.streams = await asyncio.open_connection(*self.address, limit=LIMIT)
        reader, writer = self.streams
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if not reused or getattr(error, "partial", b""):
                raise
            self.close()  # the server had closed the idle connection
            return await self.send(request)
        await reader.readexactly(int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]))
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head.split(maxsplit=2)[1])

    def close(self) -> None:
        """Close the connection."""
        if self.streams:
            self.streams[1].close()
            self.streams = None


async def run_clients(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Let some clients send requests, each the next one after its response."""
    load = Load(requests)

    async def run_client(number: int) -> None:
        connection = Connection(url)
        while time.perf_counter() - load.started < seconds:
            await load.send(connection, number)
            number += 1
        connection.close()

    await asyncio.gather(*(run_client(number) for number in range(clients)))
    return load


async def run_requests(url: str, requests: Sequence[bytes], clients: int) -> Load:
    """Let some clients send each request once, each the next one after its response."""
    load, numbers = Load(requests), iter(range(len(requests)))

    async def run_client() -> None:
        connection = Connection(url)
        for number in numbers:
            await load.send(connection, number)
        connection.close()

    await asyncio.gather(*(run_client() for _ in range(clients)))
    return load


async def run_arrivals(url: str, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Send `rate` requests per second, whether or not earlier ones have a response."""
    load, idle, tasks = Load(requests), [], []

    async def arrive(number: int) -> None:
        connection = idle.pop() if idle else Connection(url)
        await load.send(connection, number)
        idle.append(connection)

    for number in range(max(1, int(rate * seconds))):
        await asyncio.sleep(max(0, load.started + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(arrive(number)))
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return load
