"""Compare a model file's graph with the contract and with its own card."""

from collections.abc import Iterator

import numpy as np
import onnx
import PIL
from onnx import TensorProto, numpy_helper

from birds.model_file import OUTPUTS, ModelError
from export.card import fingerprints

AXES = {"photo": 4} | OUTPUTS
AGAIN = "Export it once more."


class FileFault(ModelError):
    """A model file that must not go out; the text says what is wrong, and what to do."""


def check_axes(proto: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return all axes but the first of input and outputs; the first must be free, and one."""
    values, axes, free = [*proto.graph.input, *proto.graph.output], {}, set()
    found = [each.name for each in values]
    if found != list(AXES):
        raise FileFault(f"The graph has {', '.join(found)} and not {', '.join(AXES)}. {AGAIN}")
    for value in values:
        tensor = value.type.tensor_type
        kind = TensorProto.UINT8 if value.name == "photo" else TensorProto.FLOAT
        if tensor.elem_type != kind or len(tensor.shape.dim) != AXES[value.name]:
            raise FileFault(
                f"`{value.name}` must be of type {TensorProto.DataType.Name(kind)} and have "
                f"{AXES[value.name]} axes. {AGAIN}"
            )
        first, *others = tensor.shape.dim
        free.add(first.dim_param)
        axes[value.name] = tuple(each.dim_value for each in others)
        if not all(axes[value.name]):
            raise FileFault(f"Only the first axis of `{value.name}` may be free. {AGAIN}")
    if "" in free or len(free) > 1:
        raise FileFault(
            "The graph doesn't take batches of any size: the first axis of its input and outputs "
            "must be free, and the same. Export it with dynamic_shapes."
        )
    return axes


def check_card(proto: onnx.ModelProto, axes: dict[str, tuple[int, ...]], card: dict) -> None:
    """Raise FileFault where the card says otherwise than the graph."""
    keys, labels = [each.key for each in proto.metadata_props], card["labels"]
    if keys != ["card"]:
        raise FileFault(f"The file's metadata are {', '.join(keys)}, not the card alone. {AGAIN}")
    if len({each["label"] for each in labels}) < len(labels):
        raise FileFault("Two labels in the card are the same. Make their folders one, and train.")
    for what, inside, said in facts(proto, axes, card):
        if np.shape(inside) != np.shape(said) or not np.allclose(inside, said, 1e-5):
            raise FileFault(
                f"The {what} in the card ({said}) and in the graph ({inside}) differ. {AGAIN}"
            )


def facts(proto: onnx.ModelProto, axes: dict, card: dict) -> Iterator[tuple]:
    """Yield what can be read in both: its name, as in the graph, as in the card."""
    yield "opset", [e.version for e in proto.opset_import if not e.domain], [card.get("opset")]
    yield "number of labels", axes["probability"], (len(card["labels"]),)
    yield "width of the embedding", axes["embedding"], np.shape(card["drawn_photo"]["embedding"])
    if heatmap := card.get("heatmap"):
        yield "size of the heat map", axes["heatmap"], (heatmap["height"], heatmap["width"])
    for name in ("mean", "std"):
        if (inside := constant(proto, f"pixel_{name}")) is not None:
            yield f"{name} of pixels", inside.ravel().tolist(), card["preparation"].get(name)
    if (inside := temperature(proto)) is not None:
        yield "temperature", inside, card.get("temperature")


def temperature(proto: onnx.ModelProto) -> float | None:
    """Return what the logits are divided by before their softmax, None where that isn't to see."""
    made_by = {output: node for node in proto.graph.node for output in node.output}
    softmax = made_by["probability"]
    divided = made_by.get(softmax.input[0]) if softmax.op_type == "Softmax" else None
    found = constant(proto, divided.input[1]) if divided and divided.op_type == "Div" else None
    return float(found) if found is not None and found.size == 1 else None


def constant(proto: onnx.ModelProto, name: str) -> np.ndarray | None:
    """Return a constant of the graph by its name, None where there is none."""
    graph = proto.graph
    found = [each for each in graph.initializer if each.name == name]
    nodes = (each for each in graph.node if each.op_type == "Constant")
    found += [node.attribute[0].t for node in nodes if name in node.output]
    return numpy_helper.to_array(found[0]) if found else None


def check_preparation(preparation: dict) -> None:
    """Raise FileFault unless photos are prepared here as where the card was written."""
    found = fingerprints(preparation["size"], preparation["filter"])
    recorded = preparation.get("sha256") or {}
    if wrong := [name for name in found if found[name] != recorded.get(name)]:
        raise FileFault(
            f"The drawn photos {', '.join(wrong)} are prepared otherwise than the card records, by "
            f"Pillow {PIL.__version__} (the card's: {preparation.get('pillow')}). {AGAIN}"
        )
