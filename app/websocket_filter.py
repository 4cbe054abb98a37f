"""Reduce a browser's messages to the few that the page sends, so that no visitor can run code.

Nothing reaches the kernel as it was sent: a message is written anew from fields that were checked.
"""

import json
import re
import struct
from datetime import UTC, datetime
from typing import Any, NamedTuple

BINARY_PROTOCOL = "v1.kernel.websocket.jupyter.org"  # what browsers use; other clients send JSON
WIDGET_CONTROL = "jupyter.widget.control"  # the only comm a page opens: it requests all widgets
MAX_PHOTO = 20 * 2**20  # bytes, the function's limit
MAX_PART = 2**20  # bytes of a photo in one message, as widget.js sends them
MAX_FIELDS = 2**14  # bytes of a message without its part of a photo
MAX_FRAME = MAX_PART + MAX_FIELDS
MAX_NUMBER = 2**31 - 1  # of a request
IDENTIFIER = re.compile(r"[\w.:-]{1,100}", re.ASCII)
CROP = re.compile(r"auto|center|\d{1,5}(,\d{1,5}){3}", re.ASCII)


class Rejected(ValueError):
    """The page sends no such message."""


class TooLarge(Rejected):
    """A message is larger than any that the page sends."""


class Message(NamedTuple):
    """A message for the kernel, and the part of a photo that belongs to it."""

    fields: dict[str, Any]
    buffers: list

    @property
    def id(self) -> str:
        """Identifier that the kernel repeats in all messages caused by this one."""
        return self.fields["header"]["msg_id"]


def read_message(frame: str | bytes, *, binary: bool) -> Message:
    """Return the message in a frame, of the binary protocol or JSON, written anew.

    Raises `Rejected` for any message that the page does not send.
    """
    try:
        channel, header, content, buffers = (split_binary if binary else split_json)(frame)
        message_type, session = header["msg_type"], header["session"]
        if channel != "shell":
            raise Rejected("another channel")
        if bool(buffers) != is_photo(message_type, content):
            raise Rejected("a part without a request, or a request without a part")
        new_header = {
            "msg_id": check_text(header["msg_id"]),
            "msg_type": message_type,
            "session": check_text(session),
            "username": "",
            "version": "5.3",
            "date": datetime.now(UTC).isoformat(),
        }
        fields = {
            "header": new_header,
            "parent_header": {},
            "metadata": {"version": "1.0.0"} if message_type == "comm_open" else {},
            "content": write_content(message_type, content),
        }
    except Rejected:
        raise
    except (ValueError, LookupError, TypeError, RecursionError, struct.error) as error:
        raise Rejected("malformed") from error
    return Message(fields, buffers)


def split_binary(frame: str | bytes) -> tuple[str, dict, dict, list[memoryview]]:
    """Return channel, header, content and part of a photo of a frame in the binary protocol.

    It begins with the number of offsets and the offsets, 8 bytes each: of the channel, the header,
    the parent header, the metadata, the content, the part if there is one, and the end.
    """
    if not isinstance(frame, bytes):
        raise Rejected("text in the binary protocol")
    (count,) = struct.unpack_from("<Q", frame)
    if not 6 <= count <= 7:
        raise Rejected("more than one part of a photo")
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    if sorted(offsets) != list(offsets) or offsets[-1] > len(frame):
        raise Rejected("offsets beyond the frame")
    channel, header, parent, _, content, photo = offsets[:6]
    buffers = [memoryview(frame)[photo : offsets[6]]] if count == 7 else []
    check_size(len(frame) - sum(map(len, buffers)), sum(map(len, buffers)))
    return (
        frame[channel:header].decode(),
        json.loads(frame[header:parent]),
        json.loads(frame[content:photo]),
        buffers,
    )


def split_json(frame: str | bytes) -> tuple[str, dict, dict, list[memoryview]]:
    """Return channel, header and content of a JSON frame, which has no photo."""
    check_size(len(frame))
    if not isinstance(frame, str):
        raise Rejected("a photo outside the binary protocol")
    fields = json.loads(frame)
    return fields["channel"], fields["header"], fields["content"], []


def check_size(fields: int, part: int = 0) -> None:
    """Raise `TooLarge` if a message's fields or its part of a photo have too many bytes."""
    if fields > MAX_FIELDS or part > MAX_PART:
        raise TooLarge(f"{fields} bytes and {part} of a photo")


def check_count(value: Any, limit: int) -> int:
    """Return a whole number from 0 to `limit`; raise `Rejected` for any other value."""
    if type(value) is not int or not 0 <= value <= limit:
        raise Rejected("not a number that a page sends")
    return value


def check_text(value: Any, pattern: re.Pattern = IDENTIFIER) -> str:
    """Return a text that matches a pattern; raise `Rejected` for any other value."""
    if not (isinstance(value, str) and pattern.fullmatch(value)):
        raise Rejected("not a text that a page sends")
    return value


def is_photo(message_type: str, content: dict) -> bool:
    """Return whether a message has a part of a photo."""
    match content:
        case {"data": {"method": "custom", "content": {"request": "classify" | "part"}}}:
            return message_type == "comm_msg"
    return False


def write_content(message_type: str, content: dict) -> dict:
    """Return the content of a message with the fields that its kind has, and no others."""
    match message_type:
        case "kernel_info_request":
            return {}
        case "comm_info_request":
            return {"target_name": "jupyter.widget"}
    comm = {"comm_id": check_text(content["comm_id"])}
    match message_type:
        case "comm_open" if content["target_name"] == WIDGET_CONTROL:
            return comm | {"target_name": WIDGET_CONTROL, "data": {}}
        case "comm_msg":
            return comm | {"data": write_data(content["data"])}
        case "comm_close":
            return comm | {"data": {}}
    raise Rejected("another kind of message")


def write_data(data: dict) -> dict:
    """Return what a page says to a widget: that it needs states, or a request to the function.

    A page never changes a widget's state.
    """
    match data:
        case {"method": "request_states" | "request_state" as method}:
            return {"method": method}
        case {"method": "custom", "content": {"request": "model", "id": number}}:
            request = {"request": "model", "id": check_count(number, MAX_NUMBER)}
            return {"method": "custom", "content": request}
        case {"method": "custom", "content": {"request": "classify" | "part" as name} as request}:
            written = {
                "request": name,
                "id": check_count(request["id"], MAX_NUMBER),
                "offset": check_count(request["offset"], MAX_PHOTO),
            }
            if name == "classify":
                written["crop"] = check_text(request["crop"], CROP)
            return {"method": "custom", "content": written}
    raise Rejected("another kind of data")
