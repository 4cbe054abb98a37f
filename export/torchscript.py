"""TorchScript files: for programs in C++ or on phones that load no newer format of PyTorch.

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


def convert(module: nn.Module, photo: torch.Tensor, free_axes: dict[int, Any]) -> Any:
    """Return the trace of a module with named outputs, in which all axes are free."""
    with ignore_deprecation(), torch.no_grad():
        return torch.jit.trace(module, photo, strict=False, check_trace=False)


def write(traced: torch.jit.ScriptModule, card: str, path: Path) -> None:
    """Write a trace and its card as one file."""
    buffer = io.BytesIO()
    with ignore_deprecation():
        torch.jit.save(traced, buffer, _extra_files={"card": card})
    write_bytes(path, remove_debug_info(buffer))


def remove_debug_info(file: io.BytesIO) -> bytes:
    """Return a TorchScript file without the records that only error messages use."""
    kept = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(kept, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(DEBUG_INFO):
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry))
    return kept.getvalue()


def load(path: Path) -> tuple[nn.Module, str]:
    """Return the module of a file, with its casts folded, and the text of its card."""
    extra_files = {"card": ""}
    with ignore_deprecation():
        module = torch.jit.load(path, "cpu", _extra_files=extra_files)
        module = torch.jit.freeze(module.eval())
    card = extra_files["card"]
    return module, card.decode() if isinstance(card, bytes) else card
