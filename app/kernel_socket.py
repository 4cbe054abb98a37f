"""The websocket between a browser and its kernel, with bounds on what waits in either direction."""

import asyncio
import math
import time
from http import HTTPStatus
from weakref import WeakKeyDictionary, WeakValueDictionary

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from request_checks import CheckedHandler
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler
from websocket_filter import BINARY_PROTOCOL, IDENTIFIER, Message, Rejected, TooLarge, read_message

MAX_WAITING = 2**21  # bytes for a browser that does not read; the largest message is a model's card
MESSAGES_PER_SECOND = 10
BURST = 100  # messages at once; opening the page takes five, each photo one
MESSAGES_PER_SOCKET = 10  # what opening a websocket counts
MAX_DELAY = 10  # seconds that a new websocket may be delayed
MAX_REJECTED = 200  # messages of one websocket
MAX_COMMS = 4  # that a page opens in its kernel and has not closed
OPEN_TIMEOUT = 60  # seconds until the kernel has replied to a new websocket
PROCESSING_TIMEOUT = 60  # seconds until the kernel has processed a message


class Allowance:
    """What a visitor may still send to a kernel, whatever the number of websockets."""

    def __init__(self):
        self.comms: set[str] = set()
        self._messages, self._time = float(BURST), time.monotonic()

    async def take(self, messages: int = 1, max_delay: float = math.inf) -> bool:
        """Wait until so many messages may be sent; return False at once if that is too long."""
        now = time.monotonic()
        self._messages += (now - self._time) * MESSAGES_PER_SECOND
        self._messages, self._time = min(BURST, self._messages), now
        delay = (messages - self._messages) / MESSAGES_PER_SECOND
        if delay > max_delay:
            return False
        self._messages -= messages
        if delay > 0:
            await asyncio.sleep(delay)
        return True

    def allows_comm(self, message: Message) -> bool:
        """Record a comm that is opened or closed; tell whether there are not too many."""
        kind, content = message.fields["header"]["msg_type"], message.fields["content"]
        if kind == "comm_open":
            self.comms.add(content["comm_id"])
        elif kind == "comm_close":
            self.comms.discard(content["comm_id"])
        return len(self.comms) <= MAX_COMMS


_allowances: WeakKeyDictionary = WeakKeyDictionary()  # by kernel
_newest: WeakValueDictionary = WeakValueDictionary()  # websocket of each kernel, by the kernel's id


def allowance_of(kernel) -> Allowance:
    """Return what may still be sent to a kernel."""
    return _allowances.setdefault(kernel, Allowance())


class WidgetConnection(ZMQChannelsWebsocketConnection):
    """Pass the page's messages to its kernel, one at a time, and the kernel's to the page."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._allowance = allowance_of(self.kernel_manager)
        self._rejected = 0
        self._sent, self._processed = "", asyncio.Event()

    async def _register_session(self) -> None:
        """Close the kernel's previous websocket: the browser has connected anew."""
        self.session_key = f"{self.kernel_id}:{self.session.session}"
        previous = _newest.get(self.kernel_id)
        _newest[self.kernel_id] = self.websocket_handler
        if previous:
            previous.on_connection_close()  # at once, without waiting for the browser

    @property
    def is_newest(self) -> bool:
        """Whether this is the kernel's newest websocket."""
        return _newest.get(self.kernel_id) is self.websocket_handler

    async def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        """Send a message to the kernel and wait until it was processed; then the next is read."""
        await self._allowance.take()
        try:
            message = read_message(incoming_msg, binary=self.subprotocol == BINARY_PROTOCOL)
        except TooLarge as error:
            self._close(f"it sent {error}")
            return
        except Rejected as error:
            self._reject(str(error))
            return
        if not self._allowance.allows_comm(message):
            self._close("it opened too many comms")
        elif self.channels:
            self._sent, self._processed = message.id, asyncio.Event()
            self.session.send(self.channels["shell"], message.fields, buffers=message.buffers)
            try:
                await asyncio.wait_for(self._processed.wait(), PROCESSING_TIMEOUT)
            except TimeoutError:
                self._close("its kernel did not process a message")

    def _reject(self, reason: str) -> None:
        """Drop a message, log the first one, and close the websocket after many."""
        self._rejected += 1
        if self._rejected == 1:
            self.log.warning("Kernel %s: dropped a message: %s", self.kernel_id, reason)
        if self._rejected > MAX_REJECTED:
            self._close("it sent too many messages that no page sends")

    def _close(self, reason: str) -> None:
        self.log.warning("Kernel %s: closed the websocket: %s", self.kernel_id, reason)
        self.websocket_handler.close(1008)

    def handle_outgoing_message(self, stream, outgoing_msg: list) -> None:
        """Pass a kernel's message to the browser; printed text and tracebacks are only logged."""
        parts: list = self.session.feed_identities(outgoing_msg)[1]
        header, parent, _, content = parts[1:5]
        message_type = self.session.unpack(header)["msg_type"]
        if message_type in ("stream", "error"):
            fields = self.session.unpack(content)
            text = fields.get("text") or "\n".join(fields.get("traceback", []))
            self.log.warning("Kernel %s: %s", self.kernel_id, text)
            return
        if message_type == "status" and self.session.unpack(parent).get("msg_id") == self._sent:
            state = self.session.unpack(content)["execution_state"]
            if state == "idle":
                self._processed.set()
        super().handle_outgoing_message(stream, outgoing_msg)

    def disconnect(self) -> None:
        """Stop waiting for the kernel, and disconnect from it."""
        self._processed.set()
        super().disconnect()


class KernelSocketHandler(CheckedHandler, VoilaKernelWebsocketHandler):
    """Open a kernel's websocket to its own page, and close it if the browser does not read."""

    SUPPORTED_METHODS = ("GET",)
    for_pages = True
    _waiting = 0  # bytes that the browser has not read
    _connected = _closed = False

    async def prepare(self) -> None:  # type: ignore[override]
        """Reject requests that are no websocket, before the kernel is asked."""
        await super().prepare()
        headers = self.request.headers
        connection = [token.strip() for token in headers.get("Connection", "").lower().split(",")]
        if headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in connection:
            raise HTTPError(HTTPStatus.UPGRADE_REQUIRED)
        if headers.get("Sec-WebSocket-Version") != "13" or not headers.get("Sec-WebSocket-Key"):
            raise HTTPError(HTTPStatus.BAD_REQUEST)
        if not IDENTIFIER.fullmatch(self.get_query_argument("session_id", "")):
            raise HTTPError(HTTPStatus.BAD_REQUEST)

    def check_origin(self, origin: str | None = None) -> bool:
        """Accept the origin, which `prepare` has checked."""
        return True

    async def pre_get(self) -> None:
        """Wait for the kernel; 404 if it has ended, 429 after too many websockets."""
        allowance = allowance_of(self.kernel_manager.get_kernel(self.kernel_id))
        if not await allowance.take(MESSAGES_PER_SOCKET, MAX_DELAY):
            raise HTTPError(HTTPStatus.TOO_MANY_REQUESTS)
        try:
            await asyncio.wait_for(super().pre_get(), OPEN_TIMEOUT)
        except TimeoutError as error:
            raise HTTPError(HTTPStatus.NOT_FOUND) from error

    async def open(self, kernel_id: str) -> None:  # type: ignore[override]
        """Connect to the kernel, unless a newer websocket has."""
        if not self.connection.is_newest or self.kernel_id not in self.kernel_manager:
            self.close(1008)
            return
        await super().open(kernel_id)
        self._connected = True
        if self._closed:
            super().on_close()

    async def on_message(self, ws_message: str | bytes) -> None:  # type: ignore[override]
        """Pass a message to the kernel; the next one is read afterwards."""
        if self.ws_connection and self._connected:
            await self.connection.handle_incoming_message(ws_message)

    def on_close(self) -> None:
        """Disconnect from the kernel; Jupyter fails if this happens while it connects."""
        self._closed = True
        if self._connected:
            super().on_close()

    def write_message(self, message, binary: bool = False):
        """Send a message; close the websocket if too much waits for the browser."""
        if self.ws_connection is None or self.ws_connection.is_closing():
            return
        size = len(message)
        if self._waiting + size > MAX_WAITING:
            self.log.warning("Kernel %s: closed the websocket: nobody reads", self.kernel_id)
            self.on_connection_close()  # what waits is discarded at once
            return
        try:
            written = super().write_message(message, binary)
        except WebSocketClosedError:
            return
        if written:
            self._waiting += size
            written.add_done_callback(lambda future: self._finish_writing(future, size))

    def _finish_writing(self, future: asyncio.Future, size: int) -> None:
        self._waiting -= size
        if not future.cancelled():
            future.exception()  # the browser closed its websocket
