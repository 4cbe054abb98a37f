"""Fetch a photo from an https address that a caller sends, from public servers only.

The check is where the connection is opened: a name is resolved once, all its addresses must be
public, and the socket is opened to one of these. So a name that resolves to another address later,
and a redirect to an internal server, get no further than a private address in the first place.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urljoin

import anyio
import httpcore2
from pydantic import AnyUrl, ValidationError

from .. import photo
from . import problems
from .body_buffer import Body
from .load_shedding import RETRY_AFTER
from .public_address import is_public
from .schema import PhotoAddress

TIMEOUT = 10  # seconds from the first look-up of a name to the last byte
MAX_REDIRECTS = 3
MAX_TRIED = 2  # addresses of a name
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = (("accept", "image/*"), ("accept-encoding", "identity"), ("user-agent", "fieldmark"))

Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve_host(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host, in the system's order of preference."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PublicBackend(httpcore2.AsyncNetworkBackend):
    """Open connections to public addresses only; raises a Problem for others."""

    def __init__(self, resolve: Resolve, backend: httpcore2.AsyncNetworkBackend):
        self.resolve, self.backend = resolve, backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve a host once, and connect to one of its addresses if all are public."""
        addresses = await self.resolve(host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise refused("its server is not on the public internet")
        for address in addresses[: MAX_TRIED - 1]:
            try:
                return await self.backend.connect_tcp(address, port, TIMEOUT / (2 * MAX_TRIED))
            except (httpcore2.NetworkError, httpcore2.TimeoutException):
                continue
        return await self.backend.connect_tcp(addresses[:MAX_TRIED][-1], port)

    async def sleep(self, seconds: float) -> None:
        """Sleep between attempts, of which there is only one."""
        await self.backend.sleep(seconds)


class Fetcher:
    """Fetches photos for callers, at most `max_fetches` at a time.

    Tests give another `resolve`, `backend` and `trust`, the certificates that servers must have.
    """

    def __init__(
        self,
        max_fetches: int,
        resolve: Resolve = resolve_host,
        backend: httpcore2.AsyncNetworkBackend | None = None,
        trust: ssl.SSLContext | None = None,
    ):
        self.max_fetches, self.under_way = max_fetches, 0
        plain: Any = backend or httpcore2.AnyIOBackend()
        self.backend = PublicBackend(resolve, plain)
        self.trust = trust or ssl.create_default_context()

    async def fetch(self, sent: bytes, body: Body) -> bytes:
        """Return the bytes of the photo whose address is in a request's JSON; counted in `body`.

        Raises a Problem for an address that is refused or gives no photo within TIMEOUT seconds,
        and PhotoError for an empty or too large one.
        """
        address = parse_request(sent)
        if self.under_way >= self.max_fetches:
            raise problems.busy(RETRY_AFTER)
        self.under_way += 1
        try:
            with anyio.fail_after(TIMEOUT):
                return await self.follow(address, body)
        except TimeoutError as error:
            raise not_fetched(f"it did not arrive within {TIMEOUT} seconds") from error
        except (OSError, ssl.SSLError, httpcore2.NetworkError) as error:
            raise not_fetched("its server cannot be reached") from error
        except (httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            raise not_fetched("its server does not speak HTTP/1.1 over TLS") from error
        finally:
            self.under_way -= 1

    async def follow(self, address: AnyUrl, body: Body) -> bytes:
        """Return the bytes at an address, after at most MAX_REDIRECTS redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            found = await self.get(address, body)
            if isinstance(found, bytes):
                return found
            address = parse_address(urljoin(str(address), found))
        raise not_fetched(f"its server redirects more than {MAX_REDIRECTS} times")

    async def get(self, address: AnyUrl, body: Body) -> bytes | str:
        """Return the bytes at an address, or the address that its server redirects to."""
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        host = str(address.host)  # an IPv6 address is in brackets, here and in the header
        name = host.strip("[]").encode()
        url = httpcore2.URL(scheme=b"https", host=name, port=443, target=target.encode())
        pool = httpcore2.AsyncConnectionPool(
            self.trust, max_connections=1, max_keepalive_connections=0, network_backend=self.backend
        )
        async with pool, pool.stream("GET", url, headers=[("host", host), *HEADERS]) as response:
            headers = {name.lower(): value for name, value in response.headers}
            if response.status in REDIRECTS and b"location" in headers:
                return headers[b"location"].decode("ascii", "replace")
            if response.status != 200:
                raise not_fetched(f"its server responds with status {response.status}")
            if headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise not_fetched("its server sends it compressed, which was not requested")
            return await read_limited(response.aiter_stream(), body)


async def read_limited(chunks: AsyncIterator[bytes], body: Body) -> bytes:
    """Return the chunks together; raises PhotoError as soon as they are too large, or if empty."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        photo.check_bytes(len(data) or 1)
        body.reserve(len(chunk))
    photo.check_bytes(len(data))
    return bytes(data)


def parse_request(sent: bytes) -> AnyUrl:
    """Return the address in a request's JSON; raises a Problem."""
    try:
        return parse_address(PhotoAddress.model_validate_json(sent).url)
    except ValidationError as error:
        detail = (
            'Send {"url": "https://..."}, the address of a photo, and nothing else: '
            f"{error.errors()[0]['msg']}."
        )
        raise problems.Problem(400, "bad-json", detail) from error


def parse_address(text: str) -> AnyUrl:
    """Return a https address without credentials; raises a Problem for others.

    pydantic's parser follows the browsers' standard, WHATWG's: it writes the decimal, octal and
    short forms of an IPv4 address in full, and there is no second parser to disagree with it.
    """
    try:
        address = AnyUrl(text)
    except ValidationError as error:
        raise refused("it is not a valid address") from error
    if address.scheme != "https" or not address.host:
        raise refused("only https addresses are fetched")
    if address.username is not None or address.password is not None:
        raise refused("it contains a user name or a password")
    if address.port not in (None, 443):
        raise refused("only port 443 is used")
    return address


def refused(reason: str) -> problems.Problem:
    """Return the problem of an address that the function does not connect to."""
    detail = f"This address is refused: {reason}. Send the photo's bytes instead."
    return problems.Problem(422, "address-refused", detail)


def not_fetched(reason: str) -> problems.Problem:
    """Return the problem of an address that gives no photo."""
    detail = f"This photo cannot be fetched: {reason}. Send its bytes instead."
    return problems.Problem(422, "photo-not-fetched", detail)
