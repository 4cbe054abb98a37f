"""A TLS server that sends what a test tells it to, and connections that reach it by any address."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable

import httpcore2
import trustme

Script = Callable[[], AsyncIterator[bytes]]


class PhotoServer:
    """Sends the bytes that the script of a path yields; `requests` are the heads that arrived."""

    def __init__(self, *names: str):
        authority = trustme.CA()
        certificate = authority.issue_cert(*names)
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(self.context)
        self.scripts: dict[str, Script] = {}
        self.requests: list[str] = []
        self.port = 0

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send what the path's script yields, until the client leaves."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            async for chunk in self.scripts[head.split()[1]]():
                writer.write(chunk)
                await writer.drain()
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def __enter__(self) -> "PhotoServer":
        """Serve in a thread of its own."""
        self.loop = asyncio.new_event_loop()

        async def start() -> None:
            self.server = await asyncio.start_server(self.respond, "127.0.0.1", 0, ssl=self.context)
            self.port = self.server.sockets[0].getsockname()[1]

        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(start(), self.loop).result(10)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop serving."""

        async def cancel() -> None:
            self.server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Detour(httpcore2.AsyncNetworkBackend):
    """Connects to a server, whichever address is meant; `connected` lists those addresses."""

    def __init__(self, server: PhotoServer):
        self.server, self.connected = server, []
        self.backend = httpcore2.AnyIOBackend()

    async def connect_tcp(self, host, port, *args, **options):
        """Note an address, and connect to the server."""
        self.connected.append((host, port))
        return await self.backend.connect_tcp("127.0.0.1", self.server.port, timeout=5)


def response(body: bytes, status: str = "200 OK", **headers: str) -> Script:
    """Return a script that sends one complete response."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, f"content-length: {len(body)}"])

    async def send() -> AsyncIterator[bytes]:
        yield head.encode() + b"\r\n\r\n" + body

    return send


def redirect(location: str) -> Script:
    """Return a script that redirects to an address."""
    return response(b"", "302 Found", location=location)


def stream(chunk: bytes, seconds: float = 0.0, head: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Script:
    """Return a script that sends a chunk again and again, without end."""

    async def send() -> AsyncIterator[bytes]:
        yield head
        while True:
            yield chunk
            await asyncio.sleep(seconds)

    return send
