"""An HTTP server with limits on the number, size and duration of its connections."""

import socket

from request_origin import parse_network
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from websocket_filter import MAX_FRAME

MAX_CONNECTIONS = 400  # each needs a file descriptor, of which there are 1024
MAX_CONNECTIONS_PER_ADDRESS = 100  # without a proxy; a browser opens up to seven for a page
IDLE_TIMEOUT = 20  # seconds between two requests of a connection, and to send the headers of one
IDLE_TIMEOUT_BEHIND_PROXY = 95  # longer than Heroku's router keeps a connection, 90 seconds
SEND_TIMEOUT = 20  # seconds that a client may leave sent data unread
LIMITS = {
    "max_header_size": 16384,  # bytes
    "max_body_size": 16384,  # bytes; photos arrive by websocket
    "body_timeout": 20,  # seconds
    "max_buffer_size": MAX_FRAME + 2**17,
}
SOCKET_OPTIONS = [  # bytes in the operating system's buffers, which grow to megabytes otherwise
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 2**17),
    (socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17),
]
if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
    SOCKET_OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * SEND_TIMEOUT))


class BoundedServer(HTTPServer):
    """HTTP server that closes connections beyond its limits, and those that nobody reads."""

    def __init__(self, *args, proxies: int = 0, **kwargs):
        super().__init__(*args, **kwargs)
        self._networks: dict[IOStream, str] = {}
        self._per_address = MAX_CONNECTIONS if proxies else MAX_CONNECTIONS_PER_ADDRESS

    def initialize(self, *args, proxies: int = 0, **kwargs) -> None:
        """Apply the limits; the addresses of clients are known only without proxies."""
        idle = IDLE_TIMEOUT_BEHIND_PROXY if proxies else IDLE_TIMEOUT
        super().initialize(*args, idle_connection_timeout=idle, **LIMITS, **kwargs)

    def handle_stream(self, stream: IOStream, address: tuple) -> None:
        """Serve a new connection, or close it if there are too many."""
        self._networks = {old: net for old, net in self._networks.items() if not old.closed()}
        network = parse_network(str(address[0])) or "unknown"
        from_network = list(self._networks.values()).count(network)
        if len(self._networks) >= MAX_CONNECTIONS or from_network >= self._per_address:
            stream.close()
            return
        self._networks[stream] = network
        if stream.socket:
            for level, option, value in SOCKET_OPTIONS:
                stream.socket.setsockopt(level, option, value)
        super().handle_stream(stream, address)
