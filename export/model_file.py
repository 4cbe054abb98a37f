"""Write a graph as one ONNX file: dynamic batch axis, no side files, the card inside."""

import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import optimizer

from birds.model_file import OUTPUTS, add_checksum
from export.graph import FeatureGraph, Graph, OutputGraph
from fieldmark.files import write_bytes

OPSET = 20


def export_graph(graph: Graph, size: int) -> onnx.ModelProto:
    """Export a graph for photos [N, size, size, 3], N free, as one float32 model."""
    return join_outputs(export_features(graph.features, size), graph.outputs)


def export_features(features: FeatureGraph, size: int) -> onnx.ModelProto:
    """Export the first part of a graph, with outputs `features` and `embedding`."""
    for module in features.modules():
        if hasattr(module, "fused_attn"):  # timm's; torch cannot export all fused attention
            module.fused_attn = False
    photo = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    return export_module(features, {"photo": photo}, ["features", "embedding"])


def join_outputs(features: onnx.ModelProto, outputs: OutputGraph) -> onnx.ModelProto:
    """Return an exported first part with the second part of a graph behind it, a new model."""
    axes = [
        [dim.dim_value or 2 for dim in value.type.tensor_type.shape.dim]
        for value in features.graph.output
    ]
    names = ["features", "embedding"]
    inputs = {name: torch.zeros(*shape) for name, shape in zip(names, axes, strict=True)}
    second = export_module(outputs, inputs, [name for name in OUTPUTS if name != "embedding"])
    second = onnx.compose.add_prefix(
        second, "outputs.", rename_inputs=False, rename_outputs=False
    ).graph
    model = onnx.ModelProto()
    model.CopyFrom(features)
    model.graph.node.extend(second.node)
    model.graph.initializer.extend(second.initializer)
    model.graph.value_info.extend(second.value_info)
    values = {value.name: value for value in (*features.graph.output, *second.output)}
    del model.graph.output[:]
    model.graph.output.extend(values[name] for name in OUTPUTS)
    onnx.checker.check_model(model, full_check=True)
    return model


def export_module(
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    output_names: list[str],
    free_axes: dict[int, Any] | None = None,
) -> onnx.ModelProto:
    """Export a module with free axes, the same for all inputs: the first, or those of `free_axes`.

    These have torch's Dim of each.
    """
    axes = free_axes or {0: torch.export.Dim("N")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own code
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=output_names,
            dynamic_shapes=tuple(axes for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            optimize=False,  # it would fold the batch norms into weights that float16 cannot hold
            verbose=False,
        )
    assert program is not None  # noqa: S101  (the older exporter returns None)
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    remove_debug_info(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def remove_debug_info(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes about the source of each node, with paths of the machine."""
    graph = model.graph
    del graph.metadata_props[:]
    for values in (graph.node, graph.initializer, graph.value_info, graph.input, graph.output):
        for value in values:
            del value.metadata_props[:]
            value.doc_string = ""


def write_model(model: onnx.ModelProto, card: dict, path: Path) -> None:
    """Put the card into the model's metadata and write one file atomically."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = "card", json.dumps(card, ensure_ascii=False)
    write_bytes(path, add_checksum(model.SerializeToString()))
