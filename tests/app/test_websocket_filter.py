"""Which messages of a browser reach its kernel, and what of them."""

import json

import pytest

from app.websocket_filter import (
    MAX_FIELDS,
    MAX_PART,
    WIDGET_CONTROL,
    Rejected,
    TooLarge,
    read_message,
)
from tests.app.kernel_messages import binary_message, message

CONTROL = {"comm_id": "c", "target_name": WIDGET_CONTROL, "data": {}}
STATES = {"comm_id": "c", "data": {"method": "request_states"}}
CONTENTS = [
    ("kernel_info_request", {}),
    ("comm_info_request", {"target_name": "jupyter.widget"}),
    ("comm_open", CONTROL),
    ("comm_close", {"comm_id": "c", "data": {}}),
    ("comm_msg", STATES),
]


def json_message(message_type, content, channel: str | None = "shell") -> str:
    return json.dumps(message(message_type, content) | {"channel": channel})


def request(name: str = "classify", number=1, **more) -> dict:
    fields = {"model": {}, "part": {"offset": 0}, "classify": {"offset": 0, "crop": "auto"}}
    content = {"request": name, "id": number} | fields[name] | more
    return {"comm_id": "c", "data": {"method": "custom", "content": content}}


def nested(depth: int) -> dict:
    return json.loads('{"a":' * depth + "1" + "}" * depth)


@pytest.mark.parametrize(("message_type", "content"), CONTENTS)
def test_a_message_of_the_page_is_written_anew_without_anything_else(message_type, content):
    more = content | {"more": "x" * 1000}
    for frame, binary in (
        (binary_message(message_type, more, metadata={"more": 1}), True),
        (json_message(message_type, more), False),
    ):
        written = read_message(frame, binary=binary)
        assert written.fields["content"] == content
        assert written.fields["header"].keys() == message("", {})["header"].keys()
        assert not written.fields["parent_header"]
        assert "more" not in written.fields["metadata"]


def test_a_photo_is_passed_with_its_request_and_nothing_else_is():
    for name in ("classify", "part"):
        frame = binary_message("comm_msg", request(name, more="x"), photo=b"photo")
        written = read_message(frame, binary=True)
        assert written.fields["content"] == request(name)
        assert [bytes(part) for part in written.buffers] == [b"photo"]
    square = binary_message("comm_msg", request(crop="0,25,300,300"), photo=b"photo")
    assert read_message(square, binary=True).fields["content"] == request(crop="0,25,300,300")
    for wrong in (
        binary_message("comm_msg", request()),
        binary_message("comm_msg", request("model"), photo=b"photo"),
        binary_message("comm_msg", STATES, photo=b"photo"),
        binary_message("comm_msg", request(offset=-1), photo=b"photo"),
        binary_message("comm_msg", request(offset=2**40), photo=b"photo"),
        *(
            binary_message("comm_msg", request(crop=crop), photo=b"photo")
            for crop in (None, 5, "", "1,2,3", "auto&top=9", "1,2,3,4\n", "1,2,3," + "4" * 99)
        ),
        json_message("comm_msg", request()),
    ):
        with pytest.raises(Rejected):
            read_message(wrong, binary=isinstance(wrong, bytes))


@pytest.mark.parametrize(
    ("message_type", "content"),
    [
        ("execute_request", {}),
        (["comm_msg"], STATES),
        ("comm_open", CONTROL | {"target_name": "jupyter.widget"}),
        ("comm_open", {}),
        ("comm_msg", STATES | {"comm_id": "c" * 200}),
        ("comm_msg", STATES | {"comm_id": nested(200)}),
        ("comm_msg", {"comm_id": "c", "data": {"method": "update", "state": {"_esm": ""}}}),
        ("comm_msg", {"comm_id": "c", "data": 5}),
        *(("comm_msg", request("model", number)) for number in ("1", -1, 1.5, True, 2**40, None)),
        ("comm_msg", []),
    ],
)
def test_any_other_message_is_dropped(message_type, content):
    for frame, binary in (
        (binary_message(message_type, content), True),
        (json_message(message_type, content), False),
    ):
        with pytest.raises(Rejected):
            read_message(frame, binary=binary)


@pytest.mark.parametrize(
    ("wrong", "binary"),
    [
        (b"", True),
        ("text", True),
        ((2**40).to_bytes(8, "little") + bytes(64), True),  # the number of parts exhausts memory
        ((2**64 - 1).to_bytes(8, "little") + bytes(64), True),
        ((6).to_bytes(8, "little") + (2**63).to_bytes(8, "little") * 6, True),
        ((1).to_bytes(8, "little") + bytes(64), True),
        (binary_message("comm_msg", STATES)[:80], True),
        (binary_message("comm_msg", STATES, "control"), True),
        *((text, False) for text in ("", "[]", "{}", '{"header": 1}', "1e999", "[" * 9000)),
        (json_message("comm_msg", STATES, channel=None), False),  # Jupyter reads it as shell
        ((2**31 - 1).to_bytes(4, "big") + bytes(64), False),
    ],
)
def test_a_malformed_frame_is_dropped(wrong, binary):
    with pytest.raises(Rejected):
        read_message(wrong, binary=binary)


def test_each_field_and_the_photo_have_a_largest_size():
    long, header = "x" * MAX_FIELDS, message("comm_msg", STATES)
    header["header"]["msg_id"] = long
    frames = [
        json.dumps(header | {"channel": "shell"}),
        binary_message("comm_msg", request() | {"more": long}, photo=b"photo"),
        binary_message("kernel_info_request", {}, metadata={"more": long}),
        binary_message("comm_msg", request(), photo=bytes(MAX_PART + 1)),
        bytes(MAX_FIELDS + 1),
    ]
    for frame in frames:
        with pytest.raises(TooLarge):
            read_message(frame, binary=frame is not frames[-1] and isinstance(frame, bytes))
    largest = binary_message("comm_msg", request(), photo=bytes(MAX_PART))
    assert len(read_message(largest, binary=True).buffers[0]) == MAX_PART
