"""Pass on from a browser what widgets say, and nothing by which a stranger could run code."""

import json
from struct import error, unpack_from

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

SHORT = "v1.kernel.websocket.jupyter.org"  # the protocol that browsers speak; others speak JSON
SAID = {"comm_msg", "comm_close", "comm_info_request", "kernel_info_request"}
CONTROL = "jupyter.widget.control"  # the one comm that a page opens: it asks for all widgets


class Wire(ZMQChannelsWebsocketConnection):
    """Connect a browser with its kernel, for widgets only."""

    _told = False

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        """Pass on a message of a widget; drop any other, and log the first."""
        if harmless(incoming_msg, self.subprotocol == SHORT):
            super().handle_incoming_message(incoming_msg)
        elif not self._told:
            self._told = True
            self.log.warning("Kernel %s: dropped what no widget says", self.kernel_id)

    def handle_outgoing_message(self, stream, outgoing_msg: list) -> None:
        """Pass on what a kernel says; what it prints, tracebacks too, is for the log alone."""
        _, parts = self.session.feed_identities(outgoing_msg)
        if self.session.unpack(parts[1])["msg_type"] not in ("stream", "error"):
            super().handle_outgoing_message(stream, outgoing_msg)
            return
        said = self.session.unpack(parts[4])
        text = said.get("text") or "\n".join(said.get("traceback", []))
        self.log.warning("Kernel %s: %s", self.kernel_id, text)


def harmless(message: str | bytes, short: bool) -> bool:
    """Tell whether a message, in the short protocol or as JSON, is one that widgets need."""
    try:
        channel, kind, content = parts(message) if short else as_json(message)
        opens = kind == "comm_open" and content()["target_name"] == CONTROL
        return channel == "shell" and (opens or kind in SAID)
    except (ValueError, LookupError, TypeError, error):  # it isn't a message at all
        return False


def parts(message: bytes):
    """Return channel, kind and a way to the content of a message in the short protocol.

    The message begins with a count and as many offsets, of 8 bytes each: of the channel, the
    header, its parent, the metadata, the content, and buffers, which are not looked at.
    """
    count = int.from_bytes(message[:8], "little")
    if 8 * (1 + count) > len(message):  # Jupyter's reader would count on until memory ends
        raise ValueError("more offsets than bytes")
    channel, header, parent, _, content, end = unpack_from("<6Q", message, 8)
    kind = json.loads(message[header:parent].decode())["msg_type"]
    return message[channel:header].decode(), kind, lambda: json.loads(message[content:end].decode())


def as_json(message: str):
    """Return the same of a message as JSON; one with buffers is refused, for the reader's sake."""
    if not isinstance(message, str):
        raise TypeError("buffers go by the short protocol")
    read = json.loads(message)
    return read["channel"], read["header"]["msg_type"], lambda: read["content"]
