"""Which messages of a browser reach its kernel."""

import json

import pytest

from app.websocket_filter import WIDGET_CONTROL, is_widget_message
from tests.app.kernel_messages import binary_message, message


def json_message(message_type, content: dict, channel: str | None = "shell") -> str:
    return json.dumps(message(message_type, content) | {"channel": channel})


@pytest.mark.parametrize(
    "message_type", ["comm_msg", "comm_close", "comm_info_request", "kernel_info_request"]
)
def test_widget_messages_pass(message_type):
    assert is_widget_message(binary_message(message_type, {}) + bytes(99), binary=True)
    assert is_widget_message(json_message(message_type, {}), binary=False)


def test_the_control_comm_may_be_opened_and_no_other():
    control, widget = {"target_name": WIDGET_CONTROL}, {"target_name": "jupyter.widget"}
    assert is_widget_message(binary_message("comm_open", control), binary=True)
    for content, channel in ((control, "control"), (widget, "shell"), ({}, "shell")):
        assert not is_widget_message(binary_message("comm_open", content, channel), binary=True)
        assert not is_widget_message(json_message("comm_open", content, channel), binary=False)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        "text",
        (2**40).to_bytes(8, "little") + bytes(64),  # the claimed number of parts exhausts memory
        (2**64 - 1).to_bytes(8, "little") + bytes(64),
        (1).to_bytes(8, "little") + bytes(64),
        binary_message("comm_msg", {})[:80],
        binary_message("comm_msg", {}, "control"),
        binary_message("execute_request", {}),
        binary_message(["comm_msg"], {}),
    ],
)
def test_any_other_binary_message_is_dropped(wrong):
    assert not is_widget_message(wrong, binary=True)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "[]", "{}", '{"header": 1}'),
        json_message("comm_msg", {}, channel=None),  # Jupyter reads it as the shell channel
        json_message("execute_request", {}),
        (2**31 - 1).to_bytes(4, "big") + bytes(64),
    ],
)
def test_any_other_json_message_is_dropped(wrong):
    assert not is_widget_message(wrong, binary=False)
