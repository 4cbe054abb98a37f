"""What a model file must be to be served: whole, one file, with our inputs, outputs and card."""

import hashlib
import json
import mmap
from pathlib import Path

from PIL import Image

OUTPUTS = {"probability": 2, "unknown": 1, "heatmap": 3, "embedding": 2}  # and their axes
MARK = b"\x32\x47sha256:"  # how the 71 characters of an ONNX model's doc_string begin
SEAL = len(MARK) + 64
SIDE_FILE = b"\n\x08location\x12"  # how ONNX writes that weights are in another file
CARD = 16 * 2**20  # bytes; one of 10,000 species has about 3 million
NEEDED = {"name": str, "version": str, "labels": list, "preparation": dict, "drawn_photo": dict}
AGAIN = "Export it once more."


class ModelError(RuntimeError):
    """A model file that can't be served; the text tells its owner what to do."""


def sealed(content: bytes) -> bytes:
    """Put a checksum before an ONNX file's content, as its doc_string; readers see one model.

    An ONNX file is a protocol buffer, whose fields may come in any order. A tool that saves the
    model again puts the field elsewhere, and the file counts as one without a seal.
    """
    return MARK + hashlib.sha256(content).hexdigest().encode() + content


def check_bytes(path: Path) -> None:
    """Raise ModelError unless a path leads to one whole file, as far as its bytes can tell."""
    name = path.name
    if path.is_dir():
        raise ModelError(f"{name} is a folder. Name the birds.onnx in it.")
    if not path.is_file():
        raise ModelError(f"There is no model file {name}. `make publish` puts one in its place.")
    if not path.stat().st_size:
        raise ModelError(f"{name} is empty. Copy it once more, or `make publish` another.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content[:SEAL]
        if start.startswith(MARK):
            with memoryview(content) as view, view[SEAL:] as rest:
                found = hashlib.sha256(rest).hexdigest().encode()
            if start != MARK + found:
                raise ModelError(f"{name} is damaged or was cut short. Copy it once more.")
        if content.find(SIDE_FILE) >= 0:
            raise ModelError(f"{name} has weights in other files, which are not served. {AGAIN}")


def check_graph(session, name: str) -> int:
    """Return the side of a photo in pixels that a session's graph wants.

    Raises ModelError for other inputs or outputs than those of `Classifier.predict`.
    """
    inputs = [(each.name, each.type, each.shape[1:]) for each in session.get_inputs()]
    size = inputs[0][2][0] if inputs and inputs[0][2] else None
    if inputs != [("photo", "tensor(uint8)", [size, size, 3])] or not isinstance(size, int):
        raise ModelError(
            f"{name} is no Fieldmark model: its input is not `photo`, uint8 [N, size, size, 3]. "
            f"{AGAIN}"
        )
    outputs = {each.name: (each.type, len(each.shape)) for each in session.get_outputs()}
    for output, axes in OUTPUTS.items():
        if outputs.get(output) != ("tensor(float)", axes):
            raise ModelError(
                f"{name} is no Fieldmark model: it gives no `{output}`, float32 with {axes} "
                f"{'axis' if axes == 1 else 'axes'}. {AGAIN}"
            )
    return size


def read_card(metadata: dict[str, str], size: int, name: str) -> dict:
    """Return the model card, which names all that answers are made of.

    Raises ModelError for a card that is missing, can't be read, or doesn't fit photos of `size`.
    """
    if "card" not in metadata:
        raise ModelError(f"{name} is no Fieldmark model: it has no card. {AGAIN}")
    if len(metadata["card"]) > CARD:
        raise ModelError(f"The card in {name} has over {CARD // 2**20} MiB. Shorten its entries.")
    try:
        card = json.loads(metadata["card"], parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The card in {name} is not JSON. {AGAIN}") from error
    if not isinstance(card, dict):
        raise ModelError(f"The card in {name} is not JSON of named entries. {AGAIN}")
    for entry, kind in NEEDED.items():
        if not isinstance(card.get(entry), kind):
            raise ModelError(f"The card in {name} lacks {entry}, or can't be read there. {AGAIN}")
    for number, each in enumerate(card["labels"], 1):
        if not is_label(each):
            raise ModelError(f"The card in {name} lacks a name for label {number}. {AGAIN}")
    preparation = card["preparation"]
    if preparation.get("size") != size:
        raise ModelError(
            f"The card in {name} wants photos of {preparation.get('size')} pixels, its graph of "
            f"{size}. {AGAIN}"
        )
    if str(preparation.get("filter")).upper() not in Image.Resampling.__members__:
        raise ModelError(f"The card in {name} names no filter to resize photos with. {AGAIN}")
    return card


def is_label(facts: object) -> bool:
    """Tell whether a card's label has the names that answers show; the scientific may be null."""
    return (
        isinstance(facts, dict)
        and isinstance(facts.get("label"), str)
        and isinstance(facts.get("common_name"), str)
        and isinstance(facts.get("scientific_name", 0), str | None)
    )


def refuse(constant: str) -> None:
    """Raise ValueError for NaN and infinity, which Python would read and no browser does."""
    raise ValueError(constant)
