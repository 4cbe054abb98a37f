"""Check that a model file can be served: complete, one file, with our inputs, outputs and card."""

import hashlib
import json
import mmap
from pathlib import Path

from PIL import Image

from .errors import UserError

SCHEMA = 2  # of the card
OUTPUTS = {"probability": 2, "unknown": 1, "heatmap": 3, "embedding": 2}  # and their dimensions
CHECKSUM_PREFIX = b"\x32\x47sha256:"  # the ONNX field doc_string, 71 characters long
CHECKSUM_LENGTH = len(CHECKSUM_PREFIX) + 64
ZIP_START = b"PK\x03\x04"
EXTERNAL_DATA = b"\n\x08location\x12"  # how ONNX refers to weights in another file
MAX_CARD = 16 * 2**20  # characters; the card of 10,000 species has about 3 million
REQUIRED = {"name": str, "version": str, "labels": list, "preparation": dict, "drawn_photo": dict}
EXPORT_AGAIN = "Export it again."


class ModelError(UserError):
    """A model file that cannot be served; the message tells its owner what to do."""


def add_checksum(content: bytes) -> bytes:
    """Put a SHA-256 of an ONNX file before its content, as its doc_string.

    Every ONNX reader sees the same model, because the fields of a protocol buffer may come in any
    order. A tool that saves the model again moves the field, which leaves a file without checksum.
    """
    return CHECKSUM_PREFIX + hashlib.sha256(content).hexdigest().encode() + content


def check_bytes(path: Path) -> None:
    """Raise ModelError unless a path is a complete single file, as far as its bytes show."""
    check_file(path)
    name = path.name
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content[:CHECKSUM_LENGTH]
        if start.startswith(ZIP_START):
            raise ModelError(
                f"{name} is not an ONNX file but an archive, such as PyTorch writes. Only ONNX "
                "files are served: give birds.onnx or finder.onnx of the same run."
            )
        if start.startswith(CHECKSUM_PREFIX):
            with memoryview(content) as view, view[CHECKSUM_LENGTH:] as rest:
                digest = hashlib.sha256(rest).hexdigest().encode()
            if start != CHECKSUM_PREFIX + digest:
                raise ModelError(f"{name} is damaged or incomplete. Copy it again.")
        if content.find(EXTERNAL_DATA) >= 0:
            raise ModelError(
                f"{name} has weights in other files, which are not read. {EXPORT_AGAIN}"
            )


def check_file(path: Path) -> None:
    """Raise ModelError unless a path is a file with content."""
    name = path.name
    if path.is_dir():
        raise ModelError(f"{name} is a folder. Give the path of the model file in it.")
    if not path.is_file():
        raise ModelError(f"Model file {name} does not exist. `make publish RUN=...` copies one.")
    if not path.stat().st_size:
        raise ModelError(f"{name} is empty. Copy it again, or `make publish RUN=...` another one.")


def check_graph(session, name: str) -> int:
    """Return the side of a photo in pixels that the graph of a session expects.

    Raises ModelError for other inputs or outputs than those of `Classifier.predict`.
    """
    inputs = [(node.name, node.type, node.shape[1:]) for node in session.get_inputs()]
    size = inputs[0][2][0] if inputs and inputs[0][2] else None
    if inputs != [("photo", "tensor(uint8)", [size, size, 3])] or not isinstance(size, int):
        raise ModelError(
            f"{name} is not a Fieldmark model: its input is not `photo`, uint8 [N, size, size, 3]. "
            f"{EXPORT_AGAIN}"
        )
    outputs = {node.name: (node.type, len(node.shape)) for node in session.get_outputs()}
    for output, dimensions in OUTPUTS.items():
        if outputs.get(output) != ("tensor(float)", dimensions):
            raise ModelError(
                f"{name} is not a Fieldmark model: it has no output `{output}`, float32 with "
                f"{dimensions} dimension{'s' * (dimensions > 1)}. {EXPORT_AGAIN}"
            )
    return size


def read_card(metadata: dict[str, str], size: int, name: str) -> dict:
    """Parse and check the model card in a file's metadata.

    Raises ModelError for a card that is missing, unreadable, of another schema or incomplete, or
    that does not fit photos of `size` pixels.
    """
    card = parse_card(metadata, name)
    schema = card.get("schema", 1)
    if schema != SCHEMA:
        advice = "Run `fieldmark migrate RUN` on its run." if schema == 1 else "Update Fieldmark."
        raise ModelError(f"The card of {name} has schema {schema}, not {SCHEMA}. {advice}")
    for key, kind in REQUIRED.items():
        if not isinstance(card.get(key), kind):
            raise ModelError(f"The card of {name} has no valid `{key}`. {EXPORT_AGAIN}")
    for number, label in enumerate(card["labels"], 1):
        if not is_label(label):
            raise ModelError(
                f"The card of {name} has no valid name for label {number}. {EXPORT_AGAIN}"
            )
    preparation = card["preparation"]
    if preparation.get("size") != size:
        raise ModelError(
            f"The card of {name} says photos of {preparation.get('size')} pixels, its graph says "
            f"{size}. {EXPORT_AGAIN}"
        )
    if str(preparation.get("filter")).upper() not in Image.Resampling.__members__:
        raise ModelError(f"The card of {name} has no valid resampling `filter`. {EXPORT_AGAIN}")
    for key, has_shape in OPTIONAL.items():
        if card.get(key) is not None and not has_shape(card[key]):
            raise ModelError(f"The card of {name} has no valid `{key}`. {EXPORT_AGAIN}")
    return card


def parse_card(metadata: dict[str, str], name: str) -> dict:
    """Return the card in a file's metadata; raise ModelError if it is missing or unreadable."""
    if "card" not in metadata:
        raise ModelError(f"{name} is not a Fieldmark model: it has no card. {EXPORT_AGAIN}")
    if len(metadata["card"]) > MAX_CARD:
        raise ModelError(
            f"The card of {name} is over {MAX_CARD // 2**20} MiB. Shorten its entries."
        )
    try:
        # int refuses NaN and infinity, which Python parses and browsers do not
        card = json.loads(metadata["card"], parse_constant=int)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The card of {name} is not JSON. {EXPORT_AGAIN}") from error
    if not isinstance(card, dict):
        raise ModelError(f"The card of {name} is not a JSON object. {EXPORT_AGAIN}")
    return card


def is_label(label: object) -> bool:
    """Return whether a label of a card has the names that answers show."""
    return (
        isinstance(label, dict)
        and isinstance(label.get("label"), str)
        and isinstance(label.get("common_name"), str)
        and isinstance(label.get("scientific_name", 0), str | None)
    )


def is_thresholds(entry: object) -> bool:
    """Return whether an entry `thresholds` has none for unknown birds, or a number."""
    unknown = entry.get("unknown") if isinstance(entry, dict) else entry
    return unknown is None or (
        isinstance(unknown, dict) and isinstance(unknown.get("threshold"), int | float)
    )


def is_finder(entry: object) -> bool:
    """Return whether an entry `finder` names one."""
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), str) for key in ("name", "version", "sha256")
    )


OPTIONAL = {"thresholds": is_thresholds, "finder": is_finder}  # entries, read when it is loaded
