"""Compare a model file's graph with the contract and with its own card."""

from collections.abc import Iterator

import numpy as np
import onnx
import PIL
from onnx import TensorProto, numpy_helper

from birds.model_file import OUTPUTS, ModelError
from fieldmark.network.preparation import Preparation

AXES = {"photo": 4} | OUTPUTS
EXPORT_AGAIN = "Export it again."


class ModelFileError(ModelError):
    """A model file that contradicts itself or the contract."""


def check_axes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return all axes but the first of input and outputs.

    Raises ModelFileError unless names and types are those of the contract, and the first axis is
    free and the same everywhere.
    """
    values, axes, batch_axes = [*model.graph.input, *model.graph.output], {}, set()
    names = [value.name for value in values]
    if names != list(AXES):
        raise ModelFileError(
            f"The graph has {', '.join(names)} instead of {', '.join(AXES)}. {EXPORT_AGAIN}"
        )
    for value in values:
        tensor = value.type.tensor_type
        dtype = TensorProto.UINT8 if value.name == "photo" else TensorProto.FLOAT
        if tensor.elem_type != dtype or len(tensor.shape.dim) != AXES[value.name]:
            raise ModelFileError(
                f"`{value.name}` must be of type {TensorProto.DataType.Name(dtype)} with "
                f"{AXES[value.name]} axes. {EXPORT_AGAIN}"
            )
        first, *others = tensor.shape.dim
        batch_axes.add(first.dim_param)
        axes[value.name] = tuple(dim.dim_value for dim in others)
        if not all(axes[value.name]):
            raise ModelFileError(
                f"Only the first axis of `{value.name}` may be free. {EXPORT_AGAIN}"
            )
    if "" in batch_axes or len(batch_axes) > 1:
        raise ModelFileError(
            "The graph does not accept batches of any size: the first axis of its input and "
            "outputs must be free, and the same. Export it with dynamic_shapes."
        )
    return axes


def check_card(model: onnx.ModelProto, axes: dict[str, tuple[int, ...]], card: dict) -> None:
    """Raise ModelFileError where the card contradicts the graph."""
    keys, labels = [entry.key for entry in model.metadata_props], card["labels"]
    if keys != ["card"]:
        raise ModelFileError(
            f"The file's metadata are {', '.join(keys)} instead of the card alone. {EXPORT_AGAIN}"
        )
    if len({label["label"] for label in labels}) < len(labels):
        raise ModelFileError(
            "Two labels in the card are equal. Merge their folders and train again."
        )
    for name, in_graph, in_card in shared_facts(model, axes, card):
        if np.shape(in_graph) != np.shape(in_card) or not np.allclose(in_graph, in_card, 1e-5):
            raise ModelFileError(
                f"The {name} is {in_card} in the card and {in_graph} in the graph. {EXPORT_AGAIN}"
            )


def shared_facts(model: onnx.ModelProto, axes: dict, card: dict) -> Iterator[tuple]:
    """Yield what graph and card both hold: its name, its value in the graph and in the card."""
    yield "opset", [op.version for op in model.opset_import if not op.domain], [card.get("opset")]
    yield "number of labels", axes["probability"], (len(card["labels"]),)
    yield "width of the embedding", axes["embedding"], np.shape(card["drawn_photo"]["embedding"])
    if heatmap := card.get("heatmap"):
        yield "size of the heat map", axes["heatmap"], (heatmap["height"], heatmap["width"])
    for name in ("mean", "std"):
        if (values := find_constant(model, f"pixel_{name}")) is not None:
            yield f"{name} of pixels", values.ravel().tolist(), card["preparation"].get(name)
    if (temperature := find_temperature(model)) is not None:
        yield "temperature", temperature, card.get("temperature")


def find_temperature(model: onnx.ModelProto) -> float | None:
    """Return what the logits are divided by before their softmax, None if that is not visible."""
    producers = {output: node for node in model.graph.node for output in node.output}
    softmax = producers["probability"]
    division = producers.get(softmax.input[0]) if softmax.op_type == "Softmax" else None
    if division is None or division.op_type != "Div":
        return None
    divisor = find_constant(model, division.input[1])
    return float(divisor) if divisor is not None and divisor.size == 1 else None


def find_constant(model: onnx.ModelProto, name: str) -> np.ndarray | None:
    """Return a constant of the graph by its name, None if there is none."""
    graph = model.graph
    tensors = [tensor for tensor in graph.initializer if tensor.name == name]
    constants = (node for node in graph.node if node.op_type == "Constant")
    tensors += [node.attribute[0].t for node in constants if name in node.output]
    return numpy_helper.to_array(tensors[0]) if tensors else None


def check_preparation(card: dict) -> None:
    """Raise ModelFileError unless photos are prepared here as where the card was written."""
    recorded = card["preparation"].get("sha256") or {}
    digests = Preparation.from_card(card).fingerprints()
    if changed := [name for name in digests if digests[name] != recorded.get(name)]:
        raise ModelFileError(
            f"The drawn photos {', '.join(changed)} are prepared differently here, by Pillow "
            f"{PIL.__version__}, than the card records (Pillow "
            f"{card['preparation'].get('pillow')}). {EXPORT_AGAIN}"
        )
