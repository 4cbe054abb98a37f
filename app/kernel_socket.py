"""The websocket of a kernel: who may open it, how often, and what waits for a slow browser."""

import asyncio
from http import HTTPStatus

from kernel_connection import allowance_of
from request_checks import CheckedHandler
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler
from websocket_filter import IDENTIFIER

MAX_WAITING = 2**21  # bytes for a browser that does not read; the largest message is a model's card
MESSAGES_PER_SOCKET = 10  # what opening a websocket counts
MAX_DELAY = 10  # seconds that a new websocket may be delayed
OPEN_TIMEOUT = 60  # seconds until the kernel has replied to a new websocket


class KernelSocketHandler(CheckedHandler, VoilaKernelWebsocketHandler):
    """Open a kernel's websocket to its own page, and close it if the browser does not read."""

    SUPPORTED_METHODS = ("GET",)
    for_pages = True
    _waiting = 0  # bytes that the browser has not read
    _connected = _closed = False

    async def prepare(self) -> None:  # type: ignore[override]
        """Reject requests that are no websocket, before they reach the kernel."""
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
