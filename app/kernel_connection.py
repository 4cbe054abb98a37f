"""Pass messages between a browser and its kernel, with bounds on what a visitor sends."""

import asyncio
import math
import time
from weakref import WeakKeyDictionary, WeakValueDictionary

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from websocket_filter import BINARY_PROTOCOL, Message, Rejected, TooLarge, read_message

MESSAGES_PER_SECOND = 10
BURST = 100  # messages at once; opening the page takes five, each photo one
MAX_REJECTED = 200  # messages of one websocket
MAX_COMMS = 4  # that a page opens in its kernel and has not closed
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
        """Record a comm that is opened or closed; tell whether there may be one more."""
        kind, content = message.fields["header"]["msg_type"], message.fields["content"]
        if kind == "comm_close":
            self.comms.discard(content["comm_id"])
        if kind != "comm_open":
            return True
        allowed = len(self.comms) < MAX_COMMS
        if allowed:
            self.comms.add(content["comm_id"])
        return allowed


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
        if not self.websocket_handler.ws_connection:
            return  # it was closed meanwhile
        try:
            message = read_message(incoming_msg, binary=self.subprotocol == BINARY_PROTOCOL)
        except TooLarge as error:
            self._close(f"it sent {error}")
            return
        except Rejected as error:
            self._reject(str(error))
            return
        if not self._allowance.allows_comm(message):
            self._reject("too many comms")
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
