"""Mixed precision where the device does it well: CUDA, and CPUs that multiply bfloat16."""

import timeit
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from fastai.vision.all import Callback, MixedPrecision, default_device
from torch import nn
from torch.nn import functional

from fieldmark.errors import TrainingError as PrecisionError

PRECISIONS = ("auto", "float32", "float16", "bfloat16")
WORTH = 1.5  # times as fast as float32, or bfloat16 isn't taken


def mixed_precision(wanted: str) -> list[Callback]:
    """Return the callback for mixed precision; `auto` mixes where the device does it well.

    Raises PrecisionError where a precision is wanted that the device doesn't have.
    """
    device = default_device().type
    kind = chosen(wanted, device)
    if kind == "float32":
        return []
    if device == "cpu":
        return [BFloat16OnCPU()]
    return [MixedPrecision("bf16" if kind == "bfloat16" else "fp16")]


def autocast(wanted: str) -> AbstractContextManager:
    """Return the context in which a network is only asked, in the precision it would learn in."""
    device = default_device().type
    kind = chosen(wanted, device)
    if kind == "float32":
        return nullcontext()
    return torch.autocast(device, getattr(torch, kind))


def chosen(wanted: str, device: str) -> str:
    """Return the precision that is wanted, or for `auto` the device's best.

    Raises PrecisionError where the device doesn't have it.
    """
    if wanted == "auto":
        return best(device)
    if wanted == "float32" or device == "cuda" or (device, wanted) == ("cpu", "bfloat16"):
        return wanted
    raise PrecisionError(f"`precision: {wanted}` needs an NVIDIA GPU; take `auto` or `float32`.")


def best(device: str) -> str:
    """Return the precision that a device computes fastest in, of those that train well."""
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if device == "cpu" and bfloat16_pays() else "float32"


@cache
def bfloat16_pays() -> bool:
    """Tell whether this CPU convolves so much faster in bfloat16; measured, in a moment."""
    spent = {}
    for kind in (torch.float32, torch.bfloat16):
        maps = torch.ones(8, 64, 28, 28, dtype=kind).contiguous(memory_format=torch.channels_last)
        weight = torch.ones(128, 64, 3, 3, dtype=kind)
        with torch.no_grad():
            run = timeit.Timer(lambda maps=maps, weight=weight: functional.conv2d(maps, weight))
            spent[kind] = min(run.repeat(5, number=4))
    return spent[torch.float32] > WORTH * spent[torch.bfloat16]


class BFloat16OnCPU(MixedPrecision):
    """Mix bfloat16 in on a CPU; fastai's own callback knows only CUDA.

    Depthwise convolutions with a stride stay in float32: there torch computes the gradient of their
    input in bfloat16 fifty times as slowly (2.15, Xeon with AMX), and they are two of a hundred.
    """

    def __init__(self):
        super().__init__("bf16")

    def before_fit(self):
        """Prepare what fastai's callback works with; bfloat16 needs no scaling."""
        self.autocast = torch.autocast("cpu", torch.bfloat16)
        self.learn.scaler, self.scales = torch.amp.GradScaler("cpu", enabled=False), []
        self.hooks = [hook for module in self.model.modules() for hook in widened(module)]

    def after_fit(self):
        """Leave the network as it was."""
        for hook in self.hooks:
            hook.remove()
        super().after_fit()


WIDE = torch.autocast("cpu", enabled=False)


def widened(module: nn.Module) -> list:
    """Let a module compute in float32 if it is a depthwise convolution with a stride."""
    if not isinstance(module, nn.Conv2d) or module.groups == 1 or max(module.stride) == 1:
        return []
    return [
        module.register_forward_pre_hook(widen),
        module.register_forward_hook(narrow, always_call=True),
    ]


def widen(_, maps: tuple[torch.Tensor]) -> torch.Tensor:
    """Leave mixed precision before a module computes."""
    WIDE.__enter__()
    return maps[0].float()


def narrow(_, __, maps: torch.Tensor | None) -> torch.Tensor | None:
    """Go back to how it was before, also where the module failed and gave nothing."""
    WIDE.__exit__(None, None, None)
    mixed = torch.is_autocast_enabled("cpu")  # not where a model is judged between epochs
    return maps.bfloat16() if mixed and maps is not None else maps
