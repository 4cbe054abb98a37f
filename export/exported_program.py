"""Files of torch.export, `.pt2`: PyTorch's own format of a graph, which torch.compile accepts."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

DEBUG_INFO = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


def convert(
    module: nn.Module, photo: torch.Tensor, free_axes: dict[int, Any]
) -> torch.export.ExportedProgram:
    """Return the program of a module with named outputs."""
    with torch.no_grad():
        program = torch.export.export(module, (photo,), dynamic_shapes={"photo": free_axes})
    remove_debug_info(program)
    program.example_inputs = None  # or the file has a pickle of them
    return program


def write(program: torch.export.ExportedProgram, card: str, path: Path) -> None:
    """Write a program and its card as one file."""
    torch.export.save(program, path, extra_files={"card": card})


def remove_debug_info(program: torch.export.ExportedProgram) -> None:
    """Remove the source lines of each node, which have paths of the machine."""
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            for key in DEBUG_INFO:
                node.meta.pop(key, None)


def load(path: Path) -> tuple[nn.Module, str]:
    """Return the module of a file, and the text of its card."""
    extra_files = {"card": ""}
    program = torch.export.load(path, extra_files=extra_files)
    return program.module(), extra_files["card"]
