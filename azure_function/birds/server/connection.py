"""Limit what a client may send besides bodies, how long it may take, and how many connect."""

import asyncio
import heapq
import math
from operator import attrgetter

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..http import problems
from ..http.request_log import log_refused_connection
from ..http.security_headers import HEADERS_OF_DATA

MAX_HEAD = 32 * 2**10  # bytes of a request that are not its body
FRAMING_SHARE = 1 / 8  # further ones for each byte of the body, for the sizes of its chunks
PIECE = 16 * 2**10  # bytes that are parsed before the limits are checked
MAX_CONNECTIONS = 1000
# seconds
HEAD_TIMEOUT = 10  # from the connection, or the last response, to the end of a request's head
SEND_TIMEOUT = 30  # for a client to read what was sent
REST_TIMEOUT = 30  # for the rest of a body after its response
CLOSE_TIMEOUT = 2  # for a client to read why its connection ends


class PipelinedRequest(Exception):
    """A client sent its next request before the response."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, parsed by httptools, which has no limits of its own.

    At any time either the app is responsible for the request, or the connection has a deadline. The
    app limits the time of bodies. Pipelined requests are not processed: the connection ends after
    the first response, which RFC 9112, 9.3.2, allows; without a limit they fill the memory.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, and end another one if there are more than MAX_CONNECTIONS."""
        super().connection_made(transport)
        self.received = self.received_body = 0  # bytes of the current request
        self.in_head, self.is_chunked, self.ended = True, False, False
        self.deadline, self.timer = math.inf, None
        self.latest_arrival = self.loop.time()
        self.set_deadline(HEAD_TIMEOUT)
        if len(self.connections) > MAX_CONNECTIONS:
            self.make_room()

    def make_room(self) -> None:
        """End connections without a complete request, or this one if all have a complete one.

        The first are those closest to their deadlines, then those whose bodies stalled longest.
        Several at once, since the search takes long for each of many new connections.
        """
        others = [each for each in self.connections if isinstance(each, Connection)]
        incomplete = [each for each in others if each is not self and not each.has_request()]
        count = math.ceil(MAX_CONNECTIONS / 50)
        order = attrgetter("deadline", "latest_arrival")
        for each in heapq.nsmallest(count, incomplete, key=order):
            self.connections.discard(each)  # before it is closed
            each.transport.abort()
        if not incomplete:
            self.end(problems.busy(1))

    def has_request(self) -> bool:
        """Return whether there is a complete request without a response."""
        return self.deadline == math.inf and self.cycle is not None and not self.cycle.more_body

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self.set_deadline(None)
        super().connection_lost(exc)

    def set_deadline(self, seconds: float | None) -> None:
        """End the connection after some seconds, or never."""
        self.deadline = math.inf if seconds is None else self.loop.time() + seconds
        if self.timer and (seconds is None or self.timer.when() > self.deadline):
            self.timer.cancel()
            self.timer = None
        if self.timer is None and seconds is not None:
            self.timer = self.loop.call_at(self.deadline, self.check_deadline)

    def check_deadline(self) -> None:
        """End the connection if its deadline has passed, else wait for it."""
        self.timer = None
        if self.loop.time() < self.deadline:
            self.timer = self.loop.call_at(self.deadline, self.check_deadline)
        elif self.in_head and self.received and not (self.ended or self.transport.is_closing()):
            self.end(problems.slow_head(HEAD_TIMEOUT))
        else:
            self.transport.abort()

    def end(self, problem: problems.Problem) -> None:
        """Send a problem, and close the connection once the client has had time to read it."""
        log_refused_connection(problem.kind, problem.status)
        self.ended = True
        response = problems.encode_problem(problem)
        headers = [*self.server_state.default_headers, *response.raw_headers, *HEADERS_OF_DATA]
        lines = [b"%b: %b\r\n" % header for header in [*headers, (b"connection", b"close")]]
        head = [STATUS_LINE[problem.status], *lines, b"\r\n"]
        self.transport.write(b"".join([*head, bytes(response.body)]))
        if self.transport.can_write_eof():
            self.transport.write_eof()  # without close(), which would discard what still arrives
        self.set_deadline(CLOSE_TIMEOUT)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, up to the limits."""
        self.latest_arrival = self.loop.time()
        while data and not (self.ended or self.transport.is_closing()):
            size = PIECE if self.in_head or self.is_chunked else len(data)
            piece, data = data[:size], data[size:]
            self.received += len(piece)
            super().data_received(piece)
            framing = self.received - self.received_body
            if framing > MAX_HEAD + self.received_body * FRAMING_SHARE and not self.ended:
                too_large = problems.head_too_large(MAX_HEAD)
                self.refuse(too_large if self.in_head else problems.wasteful_chunks())

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; uvicorn calls this after an error of the parser."""
        self.refuse(problems.not_http())

    def refuse(self, problem: problems.Problem) -> None:
        """Send a problem, unless there is a request in progress."""
        if self.cycle is None or self.cycle.response_complete:
            self.end(problem)
        elif not self.cycle.more_body:  # a complete request gets its response; the rest is ignored
            self.cycle.keep_alive, self.ended = False, True
        elif self.cycle.response_started:
            self.transport.abort()
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.end(problem)

    def on_message_begin(self) -> None:
        """Begin a request, unless there is one in progress."""
        if self.cycle is not None and not self.cycle.response_complete:
            raise PipelinedRequest
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the app."""
        self.in_head = False
        self.is_chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        self.set_deadline(None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count a part of the body and pass it on."""
        self.received_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request's body, and expect the next request if there was a response already."""
        super().on_message_complete()
        self.received = self.received_body = 0
        self.in_head = True
        if self.cycle.response_complete:
            self.set_deadline(HEAD_TIMEOUT)

    def on_response_complete(self) -> None:
        """Wait for the next request, for the rest of this one, or for the client to read."""
        super().on_response_complete()
        if self.transport.is_closing() or self.flow.write_paused:
            self.set_deadline(SEND_TIMEOUT)
        else:
            self.set_deadline(HEAD_TIMEOUT if self.in_head else REST_TIMEOUT)

    def pause_writing(self) -> None:
        """Give a client that does not read a deadline."""
        super().pause_writing()
        self.set_deadline(SEND_TIMEOUT)

    def resume_writing(self) -> None:
        """Remove that deadline while the app sends more."""
        super().resume_writing()
        if self.cycle is not None and not self.cycle.response_complete:
            self.set_deadline(None)
