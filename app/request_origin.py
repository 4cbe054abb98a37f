"""Where a request comes from, and which host and origin it names."""

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from settings import HOST_NAME
from tornado.httputil import HTTPServerRequest

HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:/@\s]+)(:\d{1,5})?")
IPV6_PREFIX = 64  # bits that one household or server controls


def client_network(request: HTTPServerRequest, proxies: int) -> str:
    """Return the client's IPv4 address or IPv6 network.

    Each proxy appends the address that it was called from to X-Forwarded-For, so the client's is
    the entry number `proxies` from the end; earlier entries are the client's own claims.
    """
    entries = ",".join(request.headers.get_list("X-Forwarded-For")).split(",")
    if proxies and len(entries) >= proxies and (network := parse_network(entries[-proxies])):
        return network
    peer = request.connection.context.address  # type: ignore[union-attr]
    return parse_network(str(peer[0])) or "unknown"


def parse_network(text: str) -> str | None:
    """Return an IPv4 address, or the network of an IPv6 address; None for any other text."""
    text = re.sub(r"^\[(.*)\](:\d+)?$|^([\d.]+):\d+$", r"\1\3", text.strip())
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)


def is_known_host(host: str, names: Iterable[str], proxies: int) -> bool:
    """Return whether a page may be opened under `host`, the value of a Host header.

    Another site's name can be made to resolve to this computer (DNS rebinding), an address cannot.
    Without `names` a proxy is trusted to pass on requests for its own names only.
    """
    match = HOST.fullmatch(host.lower())
    if not match:
        return False
    name = match["name"].removesuffix(".")
    if is_address(name):
        return True
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    if names:
        return False
    return bool(proxies and HOST_NAME.fullmatch(name)) or name == socket.gethostname().lower()


def is_address(name: str) -> bool:
    """Return whether the name in a Host header is an IP address."""
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def is_same_origin(request: HTTPServerRequest) -> bool:
    """Return whether the browser says that this server's own page sent the request.

    Browsers name the origin of every websocket, and of every request but GET and HEAD.
    """
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    if origin is None:
        is_websocket = "Upgrade" in request.headers
        return request.method in ("GET", "HEAD") and not is_websocket and site == "same-origin"
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return site == "same-origin" and netloc.lower() == request.headers.get("Host", "").lower()
