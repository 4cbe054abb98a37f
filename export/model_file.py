"""Write a graph as one ONNX file: half-size weights, dynamic batch axis, the card inside."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer

from birds.model_file import OUTPUTS, add_checksum
from export.graph import Graph

OPSET = 20
SMALL = 1024


def to_onnx(graph: Graph, size: int) -> onnx.ModelProto:
    """Export a graph for photos [N, size, size, 3], N free, as one model without side files.

    All weights are float32, as `precision.stored` wants them.
    """
    batch = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    for module in graph.modules():
        if hasattr(module, "fused_attn"):  # timm's; torch can't export all that it fuses
            module.fused_attn = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making
        program = torch.onnx.export(
            graph.eval(),
            (batch,),
            input_names=["photo"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"photo": {0: torch.export.Dim("N")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            optimize=False,  # it would fold the batch norms into weights that float16 cannot hold
            verbose=False,
        )
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    forget_origin(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def forget_origin(model: onnx.ModelProto) -> None:
    """Drop what the exporter noted of the code behind each node: paths of somebody's machine."""
    graph = model.graph
    del graph.metadata_props[:]
    for part in (graph.node, graph.initializer, graph.value_info, graph.input, graph.output):
        for each in part:
            del each.metadata_props[:]
            each.doc_string = ""


def halve(model: onnx.ModelProto) -> None:
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


def write(model: onnx.ModelProto, card: dict, path: Path) -> None:
    """Put the card into the model's metadata and write one file, all of it or nothing."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = "card", json.dumps(card, ensure_ascii=False)
    partial = path.with_suffix(".partial")
    partial.write_bytes(add_checksum(model.SerializeToString()))
    partial.replace(path)
