"""Choose the precision in which a device computes networks fastest."""

import timeit
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch.nn import functional

from fieldmark.errors import TrainingError

PRECISIONS = ("auto", "float32", "float16", "bfloat16")
MIN_SPEEDUP = 1.5  # of bfloat16 over float32 on a CPU, below which it is not used


def choose_precision(precision: str, device_type: str) -> str:
    """Return the precision to compute in; `auto` is the fastest one in which networks train well.

    Raises TrainingError if the device does not support the precision.
    """
    if precision == "auto":
        return fastest_precision(device_type)
    if precision == "float32" or device_type == "cuda":
        return precision
    if (device_type, precision) == ("cpu", "bfloat16"):
        return precision
    raise TrainingError(
        f"`precision: {precision}` needs an NVIDIA GPU. Set it to `auto` or `float32`."
    )


def fastest_precision(device_type: str) -> str:
    """Return the precision that a device computes fastest in."""
    if device_type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if device_type == "cpu" and is_bfloat16_faster() else "float32"


@cache
def is_bfloat16_faster() -> bool:
    """Measure, in a fraction of a second, whether this CPU convolves faster in bfloat16."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        maps = torch.ones(8, 64, 28, 28, dtype=dtype).contiguous(memory_format=torch.channels_last)
        weight = torch.ones(128, 64, 3, 3, dtype=dtype)
        with torch.no_grad():
            timer = timeit.Timer(lambda maps=maps, weight=weight: functional.conv2d(maps, weight))
            seconds[dtype] = min(timer.repeat(5, number=4))
    return seconds[torch.float32] > MIN_SPEEDUP * seconds[torch.bfloat16]


def autocast(precision: str, device_type: str) -> AbstractContextManager:
    """Return the context in which a network computes in a precision.

    Raises TrainingError if the device does not support it.
    """
    chosen = choose_precision(precision, device_type)
    if chosen == "float32":
        return nullcontext()
    return torch.autocast(device_type, getattr(torch, chosen))
