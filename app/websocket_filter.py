"""Filter the messages between a browser and its kernel, so that no visitor can run code."""

import json
import struct

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

BINARY_PROTOCOL = "v1.kernel.websocket.jupyter.org"  # what browsers use; other clients send JSON
ALLOWED_TYPES = {"comm_msg", "comm_close", "comm_info_request", "kernel_info_request"}
WIDGET_CONTROL = "jupyter.widget.control"  # the only comm a page opens: it requests all widgets


class WidgetConnection(ZMQChannelsWebsocketConnection):
    """Websocket between a browser and its kernel that passes widget messages only."""

    _warned = False

    def handle_incoming_message(self, incoming_msg) -> None:
        """Pass a widget message to the kernel; drop any other, and log the first one dropped."""
        if is_widget_message(incoming_msg, binary=self.subprotocol == BINARY_PROTOCOL):
            super().handle_incoming_message(incoming_msg)
        elif not self._warned:
            self._warned = True
            self.log.warning("Kernel %s: dropped a non-widget message", self.kernel_id)

    def handle_outgoing_message(self, stream, outgoing_msg: list) -> None:
        """Pass a kernel's message to the browser; printed text and tracebacks are only logged."""
        parts: list = self.session.feed_identities(outgoing_msg)[1]
        if self.session.unpack(parts[1])["msg_type"] not in ("stream", "error"):
            super().handle_outgoing_message(stream, outgoing_msg)
            return
        content = self.session.unpack(parts[4])
        text = content.get("text") or "\n".join(content.get("traceback", []))
        self.log.warning("Kernel %s: %s", self.kernel_id, text)


def is_widget_message(message: str | bytes, *, binary: bool) -> bool:
    """Tell whether a message, in the binary protocol or as JSON, is one that widgets need."""
    try:
        channel, message_type, content = (parse_binary if binary else parse_json)(message)
        if message_type == "comm_open":
            return channel == "shell" and content()["target_name"] == WIDGET_CONTROL
        return channel == "shell" and message_type in ALLOWED_TYPES
    except (ValueError, LookupError, TypeError, struct.error):  # malformed
        return False


def parse_binary(message: str | bytes):
    """Return channel, message type and a function that reads the content of a binary message.

    The message begins with the number of offsets and the offsets, 8 bytes each: of the channel, the
    header, the parent header, the metadata, the content, and the buffers, which are not read.
    """
    if not isinstance(message, bytes):
        raise TypeError("text in the binary protocol")
    count = int.from_bytes(message[:8], "little")
    if 8 * (1 + count) > len(message):  # Jupyter's parser would allocate memory for all of them
        raise ValueError("more offsets than bytes")
    channel, header, parent, _, content, end = struct.unpack_from("<6Q", message, 8)
    message_type = json.loads(message[header:parent].decode())["msg_type"]
    return (
        message[channel:header].decode(),
        message_type,
        lambda: json.loads(message[content:end].decode()),
    )


def parse_json(message: str | bytes):
    """Return channel, message type and a function that reads the content of a JSON message.

    A message with buffers arrives as bytes and is rejected: Jupyter's parser trusts its offsets.
    """
    if not isinstance(message, str):
        raise TypeError("buffers are accepted in the binary protocol only")
    fields = json.loads(message)
    return fields["channel"], fields["header"]["msg_type"], lambda: fields["content"]
