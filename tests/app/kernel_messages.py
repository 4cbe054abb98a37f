"""Messages to a kernel, as the page's scripts and other clients write them."""

import json

from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_msg_to_ws_v1,
)


def message(message_type, content: dict, number: int = 0, metadata: dict | None = None) -> dict:
    header = {"msg_id": f"m{number}", "msg_type": message_type, "session": "test", "username": ""}
    header |= {"version": "5.3", "date": "2026-01-01T00:00:00Z"}
    return {
        "header": header,
        "parent_header": {},
        "metadata": metadata or {},
        "content": content,
    }


def binary_message(message_type, content, channel="shell", photo=None, **options) -> bytes:
    fields = message(message_type, content, **options)
    names = ("header", "parent_header", "metadata", "content")
    parts = [json.dumps(fields[name]).encode() for name in names]
    return serialize_msg_to_ws_v1([*parts, *([] if photo is None else [photo])], channel)


def parse_message(frame: str | bytes) -> tuple[dict, dict, dict]:
    """Return header, parent header and content of a frame in either protocol."""
    if isinstance(frame, str):
        parts = json.loads(frame)
        return parts["header"], parts["parent_header"], parts["content"]
    header, parent, _, content = map(json.loads, deserialize_msg_from_ws_v1(frame)[1][:4])
    return header, parent, content
