"""TorchScript files: for programs that load no newer format of PyTorch.

PyTorch 2.15 has deprecated TorchScript in favour of torch.export.
"""

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.jit import TracerWarning  # pyright: ignore[reportPrivateImportUsage]

from fieldmark.files import write_bytes

DEBUG_INFO = ".debug_pkl"  # source lines of each operator, with paths of the machine


@contextmanager
def ignore_deprecation() -> Iterator[None]:
    """Ignore what torch says about TorchScript in general, and about branches in a trace.

    The gate compares the traced graph with the network, alone and in batches.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        yield


def trace_module(module: nn.Module, photo: torch.Tensor, free_axes: dict[int, Any]) -> Any:
    """Return the trace of a module with named outputs, in which all axes are free.

    Raises what torch raises for a module that it cannot trace.
    """
    with ignore_deprecation(), torch.no_grad():
        return torch.jit.trace(module, photo, strict=False, check_trace=False)


def write_torchscript(traced: torch.jit.ScriptModule, card: str, path: Path) -> None:
    """Write a trace and its card as one file, atomically; raises DiskError."""
    buffer = io.BytesIO()
    with ignore_deprecation():
        torch.jit.save(traced, buffer, _extra_files={"card": card})
    write_bytes(path, remove_debug_records(buffer))


def remove_debug_records(file: io.BytesIO) -> bytes:
    """Return a TorchScript file without the records that only error messages use."""
    kept = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(kept, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(DEBUG_INFO):
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry))
    return kept.getvalue()


def load_torchscript(path: Path) -> nn.Module:
    """Return the module of a file, with its casts folded; raises what torch raises."""
    with ignore_deprecation():
        return torch.jit.freeze(torch.jit.load(path, "cpu").eval())
