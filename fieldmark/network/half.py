"""Weights in half precision: matrices as float16, vectors (norms, biases) as float32."""

import torch
from torch import nn

from fieldmark.errors import NetworkError


def round_to_half(module: nn.Module) -> None:
    """Round matrices to float16 in place.

    Raises NetworkError if a weight is beyond the range of float16.
    """
    for name, tensor in module.state_dict().items():
        if is_matrix(tensor):
            half = tensor.half().to(tensor.dtype)
            if not half.isfinite().all():
                raise NetworkError(
                    f"The weight {name} is beyond the range of float16. Set `weights_dtype: "
                    "fp32`, or train with a higher `weight_decay`."
                )
            tensor.copy_(half)


def stored_weights(module: nn.Module, weights_dtype: str = "fp16") -> dict[str, torch.Tensor]:
    """Return a copy of the state dict as it is stored: matrices as float16, except for fp32."""
    return {
        name: (tensor.half() if weights_dtype != "fp32" and is_matrix(tensor) else tensor)
        .contiguous()
        .clone()
        for name, tensor in module.cpu().state_dict().items()
    }


def is_matrix(tensor: torch.Tensor) -> bool:
    """Return whether a weight has several axes and floating-point numbers."""
    return tensor.is_floating_point() and tensor.ndim > 1
