"""Files of torch.export, `.pt2`: PyTorch's own format of a graph, which torch.compile accepts."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fieldmark.files import write_bytes

DEBUG_INFO = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


def export_program(
    module: nn.Module, photo: torch.Tensor, free_axes: dict[int, Any]
) -> torch.export.ExportedProgram:
    """Return the program of a module with named outputs.

    Raises what torch raises for a module that it cannot export.
    """
    with torch.no_grad():
        program = torch.export.export(module, (photo,), dynamic_shapes={"photo": free_axes})
    remove_node_sources(program)
    program.example_inputs = None  # or the file has a pickle of them
    return program


def write_program(program: torch.export.ExportedProgram, card: str, path: Path) -> None:
    """Write a program and its card as one file, atomically; raises DiskError."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"card": card})
    write_bytes(path, buffer.getvalue())


def remove_node_sources(program: torch.export.ExportedProgram) -> None:
    """Remove the source lines of each node, which have paths of the machine."""
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            for key in DEBUG_INFO:
                node.meta.pop(key, None)


def load_program(path: Path) -> nn.Module:
    """Return the module of a file; raises what torch raises."""
    return torch.export.load(path).module()
