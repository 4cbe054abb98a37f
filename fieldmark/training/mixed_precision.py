"""Train in mixed precision on GPUs, and on CPUs that compute bfloat16 fast."""

import torch
from fastai.vision.all import Callback, MixedPrecision, default_device
from torch import nn

from fieldmark.network.precision import choose_precision

FLOAT32 = torch.autocast("cpu", enabled=False)


def mixed_precision_callbacks(precision: str) -> list[Callback]:
    """Return the callback for a precision on the default device, none for float32.

    Raises TrainingError if the device does not support the precision.
    """
    device_type = default_device().type
    chosen = choose_precision(precision, device_type)
    if chosen == "float32":
        return []
    if device_type == "cpu":
        return [CPUMixedPrecision()]
    return [MixedPrecision("bf16" if chosen == "bfloat16" else "fp16")]


class CPUMixedPrecision(MixedPrecision):
    """Mixed precision with bfloat16 on a CPU; fastai's own callback supports CUDA only.

    Depthwise convolutions with a stride stay in float32: torch 2.15 computes the gradient of their
    input in bfloat16 fifty times as slowly (Xeon with AMX). EfficientNetV2-B0 has two of them.
    """

    def __init__(self):
        super().__init__("bf16")

    def before_fit(self):
        """Set what fastai's callback works with; bfloat16 needs no gradient scaling."""
        self.autocast = torch.autocast("cpu", torch.bfloat16)
        self.learn.scaler, self.scales = torch.amp.GradScaler("cpu", enabled=False), []
        self.hooks = [hook for module in self.model.modules() for hook in keep_in_float32(module)]

    def after_fit(self):
        """Remove the hooks."""
        for hook in self.hooks:
            hook.remove()
        super().after_fit()


def keep_in_float32(module: nn.Module) -> list:
    """Hook a depthwise convolution with a stride to compute in float32; return the hooks."""
    if not isinstance(module, nn.Conv2d) or module.groups == 1 or max(module.stride) == 1:
        return []
    return [
        module.register_forward_pre_hook(enter_float32),
        module.register_forward_hook(leave_float32, always_call=True),
    ]


def enter_float32(_: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    """Disable autocast before a module computes."""
    FLOAT32.__enter__()
    return inputs[0].float()


def leave_float32(_: nn.Module, __: tuple, output: torch.Tensor | None) -> torch.Tensor | None:
    """Restore autocast, even if the module raised an error and has no output."""
    FLOAT32.__exit__(None, None, None)
    is_mixed = torch.is_autocast_enabled("cpu")  # not during validation
    return output.bfloat16() if is_mixed and output is not None else output
