"""The configurations (config.pbtxt) of the models in a Triton model repository."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

GRAPH_BATCH = 16  # crops of a batch, which bounds its memory
PHOTO_BATCH = 8  # photos that are decoded and identified together
QUEUE = {  # requests that wait, and for how long; others are refused at once
    "max_queue_size": 32,
    "default_timeout_microseconds": 10_000_000,
}
CPUS = 2  # for which the numbers of instances are; README.md says how to change them
LABELS_FILE = "labels.txt"
DIMS = {"answer": [1], "unknown": [1], "crop": [4]}  # of the outputs of `birds`
TYPES = {"answer": "TYPE_STRING", "unknown": "TYPE_FP32", "crop": "TYPE_INT32"}


class Backend(StrEnum):
    """What computes the graphs: Triton's ONNX Runtime backend, or onnxruntime in its Python one."""

    ONNXRUNTIME = "onnxruntime"
    PYTHON = "python"


class Word(str):
    """A word of an enumeration, which has no quotes in a configuration."""


class Graph(NamedTuple):
    """The axes of a graph's input `photo` and of its outputs without the first; -1 is any size."""

    photo: list[int]
    outputs: dict[str, list[int]]


def graph_config(name: str, graph: Graph, backend: Backend, parameters: Mapping[str, str]) -> str:
    """Return the configuration of a model whose instances compute a graph by one thread each."""
    outputs = [
        describe_output(output, "TYPE_FP32", dims, backend)
        for output, dims in graph.outputs.items()
    ]
    photo = {"name": "photo", "data_type": Word("TYPE_UINT8"), "dims": graph.photo}
    if backend == Backend.ONNXRUNTIME:
        parameters = {**parameters, "intra_op_thread_count": "1", "enable_mem_pattern": "0"}
    return model_config(name, backend, GRAPH_BATCH, CPUS, [photo], outputs, parameters)


def birds_config(classes: int, parameters: Mapping[str, str]) -> str:
    """Return the configuration of the model that takes the bytes of photos.

    Half of its instances decode while the others wait for a graph.
    """
    photo = {"name": "photo", "data_type": Word("TYPE_STRING"), "dims": [1]}
    outputs = [describe_output(name, TYPES[name], dims) for name, dims in DIMS.items()]
    outputs.insert(1, describe_output("probability", "TYPE_FP32", [classes]))
    return model_config(
        "birds", Backend.PYTHON, PHOTO_BATCH, 2 * CPUS, [photo], outputs, parameters
    )


def model_config(
    name: str,
    backend: Backend,
    batch: int,
    instances: int,
    inputs: list[dict],
    outputs: list[dict],
    parameters: Mapping[str, str],
) -> str:
    """Return the configuration of a model that takes batches of photos from several requests."""
    return format_message(
        {
            "name": name,
            "backend": backend.value,
            "max_batch_size": batch,
            "input": inputs,
            "output": outputs,
            # those that wait are a batch, and none waits for more: on a CPU that costs time only
            "dynamic_batching": {
                "max_queue_delay_microseconds": 0,
                "default_queue_policy": QUEUE,
            },
            "instance_group": [{"count": instances, "kind": Word("KIND_CPU")}],
            "version_policy": {"latest": {"num_versions": 1}},
            "parameters": [
                {"key": key, "value": {"string_value": value}} for key, value in parameters.items()
            ],
        }
    )


def describe_output(
    name: str, data_type: str, dims: Sequence[int], backend: Backend = Backend.PYTHON
) -> dict:
    """Return the entry of an output, which has at least one axis.

    The ONNX Runtime backend reshapes an output without, one number a photo.
    """
    output = {"name": name, "data_type": Word(data_type), "dims": list(dims) or [1]}
    if not dims and backend == Backend.ONNXRUNTIME:
        output["reshape"] = {"shape": []}
    if name == "probability":
        output["label_filename"] = LABELS_FILE
    return output


def format_message(message: Mapping, indent: str = "") -> str:
    """Return a message in the text format of protocol buffers, one field a line."""
    lines = []
    for name, value in message.items():
        values = value if isinstance(value, list) else [value]
        if values and not isinstance(values[0], dict) and isinstance(value, list):
            lines.append(f"{indent}{name}: [{', '.join(map(format_value, values))}]\n")
            continue
        for each in values:
            if isinstance(each, dict):
                inner = format_message(each, f"{indent}  ")
                lines.append(f"{indent}{name} {{\n{inner}{indent}}}\n")
            else:
                lines.append(f"{indent}{name}: {format_value(each)}\n")
    return "".join(lines)


def format_value(value: object) -> str:
    """Return a number, a text with quotes, or a word of an enumeration."""
    return str(value) if isinstance(value, Word) else json.dumps(value, ensure_ascii=False)
