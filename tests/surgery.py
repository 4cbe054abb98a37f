"""Cut a model file open and change one thing, to see that the change is found."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx


def operate(model: Path, to: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    """Copy a model file with its ONNX changed; return the copy."""
    proto = onnx.load(model)
    change(proto)
    onnx.save(proto, to)
    return to


def entry(proto: onnx.ModelProto) -> onnx.StringStringEntryProto:
    """Return the metadata that hold the card."""
    return next(each for each in proto.metadata_props if each.key == "card")


def rewrite(model: Path, to: Path, change: Callable[[dict], object]) -> Path:
    """Copy a model file with its card changed; return the copy."""

    def write(proto):
        card = json.loads(entry(proto).value)
        change(card)
        entry(proto).value = json.dumps(card)

    return operate(model, to, write)
