"""Copy a model file with one thing changed, for tests that the change is found."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx


def change_model(model: Path, to: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    """Copy a model file with its ONNX changed; return the copy."""
    proto = onnx.load(model)
    change(proto)
    onnx.save(proto, to)
    return to


def card_entry(proto: onnx.ModelProto) -> onnx.StringStringEntryProto:
    """Return the entry of the metadata that holds the card."""
    return next(entry for entry in proto.metadata_props if entry.key == "card")


def change_card(model: Path, to: Path, change: Callable[[dict], object]) -> Path:
    """Copy a model file with its card changed; return the copy."""

    def write(proto):
        card = json.loads(card_entry(proto).value)
        change(card)
        card_entry(proto).value = json.dumps(card)

    return change_model(model, to, write)
