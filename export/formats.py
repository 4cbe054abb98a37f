"""File formats beside ONNX: the same graph with the same card, its input and outputs by name.

Load only files that you wrote, or whose author you trust: PyTorch's loaders may run code in them.
"""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from birds.sessions import Runtime, load_errors
from export.archive_card import find_format
from export.exported_program import export_program, load_program, write_program
from export.torchscript import load_torchscript, trace_module, write_torchscript
from export.weights_dtype import SMALL

WriteFile = Callable[[dict, Path], None]  # writes a card, with the graph, to a path


class FileFormat(NamedTuple):
    """Functions of a format.

    `convert` takes a module with named outputs, an example of its input `photo`, and the free axes
    with torch's Dim of each. `write` takes what that returns, the card as text, and a path. `load`
    returns the module.
    """

    convert: Callable[[nn.Module, torch.Tensor, dict[int, Any]], Any]
    write: Callable[[Any, str, Path], None]
    load: Callable[[Path], Callable[..., dict[str, torch.Tensor]]]


FORMATS = {
    "torchscript": FileFormat(trace_module, write_torchscript, load_torchscript),
    "pt2": FileFormat(export_program, write_program, load_program),
}


class TorchRuntime(Runtime):
    """Computes a loaded module in place of onnxruntime's session."""

    def __init__(self, module: Callable[..., dict[str, torch.Tensor]]):
        self.module = module

    def run(self, names: Sequence[str], inputs: dict[str, np.ndarray], /) -> list[np.ndarray]:
        """Return the outputs of these names for the input `photo`."""
        with torch.inference_mode():
            outputs = self.module(torch.from_numpy(np.array(inputs["photo"])))
        return [outputs[name].numpy() for name in names]


class NamedOutputs(nn.Module):
    """A graph whose outputs are a dictionary; `names` are theirs in order."""

    def __init__(self, module: nn.Module, names: Sequence[str]):
        super().__init__()
        self.module, self.names = module, tuple(names)  # torch.export reserves the name `graph`

    def forward(self, photo: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the outputs by name."""
        return dict(zip(self.names, self.module(photo), strict=True))


class ToFloat(nn.Module):
    """Casts a stored weight."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return it as float32."""
        return weight.float()


def parametrize_as_half(module: nn.Module) -> nn.Module:
    """Return a copy whose large weights are float16 where these are exact, cast when computed."""
    stored = copy.deepcopy(module)
    for owner in list(stored.modules()):
        for name, tensor in [
            *owner.named_parameters(recurse=False),
            *owner.named_buffers(recurse=False),
        ]:
            tensor.data = tensor.contiguous()  # as torch.export stores it
            if is_exact_in_half(tensor):
                tensor.data = tensor.half()
                parametrize.register_parametrization(owner, name, ToFloat(), unsafe=True)
    return stored


def is_exact_in_half(tensor: torch.Tensor) -> bool:
    """Return whether a weight is large, and float16 holds it; true where it is float16 already."""
    if tensor.dtype == torch.half:
        return True
    is_large = tensor.dtype == torch.float and tensor.numel() >= SMALL
    return is_large and torch.equal(tensor.half().float(), tensor)


def convert_graph(
    format: str,
    graph: nn.Module,
    names: Sequence[str],
    photo: torch.Tensor,
    free_axes: dict[int, Any],
    weights_dtype: str,
) -> WriteFile:
    """Convert a graph to a format; return a function that writes it, which raises DiskError.

    `names` are those of its outputs. With `weights_dtype` fp16, large weights that float16 holds
    exactly are stored so. Raises what torch raises for a graph that it cannot convert.
    """
    stored = parametrize_as_half(graph) if weights_dtype == "fp16" else graph
    module = NamedOutputs(stored, names).eval().requires_grad_(False)
    converted = FORMATS[format].convert(module, photo, free_axes)

    def write_file(card: dict, path: Path) -> None:
        FORMATS[format].write(converted, json.dumps(card, ensure_ascii=False), path)

    return write_file


def load_runtime(path: Path) -> Runtime:
    """Return what computes the graph in a file; raises ModelError for one that does not load."""
    with load_errors(path):
        return TorchRuntime(FORMATS[find_format(path)].load(path))
