"""File formats beside ONNX: the same graph with the same card, its input and outputs by name.

Load only files that you wrote, or whose author you trust: PyTorch's loaders may run code in them.
"""

import copy
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from birds.model_file import ModelError
from birds.sessions import Runtime
from export import exported_program, torchscript
from export.weights_dtype import SMALL
from fieldmark.run_folder import FORMAT_SUFFIXES


class FileFormat(NamedTuple):
    """Functions of a format.

    `convert` takes a module with named outputs, an example of its input `photo`, and the free axes
    with torch's Dim of each. `write` takes what that returns, the card as text, and a path. `load`
    returns a module and that text.
    """

    convert: Callable[[nn.Module, torch.Tensor, dict[int, Any]], Any]
    write: Callable[[Any, str, Path], None]
    load: Callable[[Path], tuple[Callable[..., dict[str, torch.Tensor]], str]]


FORMATS = {
    "torchscript": FileFormat(torchscript.convert, torchscript.write, torchscript.load),
    "pt2": FileFormat(exported_program.convert, exported_program.write, exported_program.load),
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


def store_as_half(module: nn.Module) -> nn.Module:
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
) -> Callable[[dict, Path], None]:
    """Convert a graph to a format; return a function that writes it with a card to a path.

    `names` are those of its outputs. Weights that are exact in float16 are stored so.
    """
    module = NamedOutputs(store_as_half(graph), names).eval().requires_grad_(False)
    converted = FORMATS[format].convert(module, photo, free_axes)

    def write(card: dict, path: Path) -> None:
        FORMATS[format].write(converted, json.dumps(card, ensure_ascii=False), path)

    return write


def load_runtime(path: Path) -> tuple[Runtime, dict[str, str]]:
    """Return what computes the graph in a file, and the metadata of the file as ONNX has them.

    Raises ModelError for a file of another kind.
    """
    format = find_format(path)
    if not zipfile.is_zipfile(path):
        raise ModelError(
            f"{path.name} is damaged, or of another format than {format}. Copy it again."
        )
    module, card = FORMATS[format].load(path)
    return TorchRuntime(module), {"card": card} if card else {}


def find_format(path: Path) -> str:
    """Return the format of a file by the ending of its name."""
    return next(name for name, suffix in FORMAT_SUFFIXES.items() if path.name.endswith(suffix))
