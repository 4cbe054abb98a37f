"""Number formats of a model file's weights that lose nothing: float32, or rounded to float16."""

import copy

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from fieldmark.network.network import Network

WEIGHTS_DTYPES = ("fp32", "fp16", "int8")
DEFAULT = "fp16"
SMALL = 1024  # numbers; smaller tensors stay float32


def round_network(network: Network, weights_dtype: str) -> Network:
    """Return a copy of a network on the CPU, with weights that a dtype stores exactly.

    Raises NetworkError if a weight is beyond the range of float16.
    """
    rounded = copy.deepcopy(network)
    rounded.model.cpu().float().eval()
    if weights_dtype != "fp32":
        rounded.round_to_half()
    return rounded


def have_equal_weights(first: Network, second: Network) -> bool:
    """Return whether two networks of one architecture have the same weights."""
    states = (network.model.state_dict() for network in (first, second))
    pairs = zip(*(state.values() for state in states), strict=True)
    return all(torch.equal(one.cpu(), other.cpu()) for one, other in pairs)


def convert(model: onnx.ModelProto, weights_dtype: str) -> onnx.ModelProto:
    """Return a float32 model with its weights stored as fp32 or fp16, a new model.

    Raises ValueError for fp16 unless the network was rounded before.
    """
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    if weights_dtype == "fp16":
        store_as_half(converted)
        if unrounded := float_convolutions(converted):
            raise ValueError(f"{unrounded[0]} is not exact in float16: round the network first.")
    elif weights_dtype != "fp32":
        raise ValueError(f"{weights_dtype} is none of fp32 and fp16.")
    onnx.checker.check_model(converted, full_check=True)
    return converted


def store_as_half(model: onnx.ModelProto) -> None:
    """Store each weight that float16 holds exactly as float16, and cast it in the graph.

    onnxruntime folds the casts when it loads the file: half the size, the same numbers and speed.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < SMALL or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.float16"))
        casts.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)


def find_convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the convolutions of a model in the order that they are computed in."""
    return [node for node in model.graph.node if node.op_type == "Conv"]


def float_convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of the large convolution weights that are stored as float32."""
    large = {t.name: t.data_type for t in model.graph.initializer if np.prod(t.dims) >= SMALL}
    weights = (node.input[1] for node in find_convolutions(model))
    return [name for name in weights if large.get(name) == TensorProto.FLOAT]
