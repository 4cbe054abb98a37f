"""Batch norms that normalise by the whole batch of all processes which train together.

torch's SyncBatchNorm needs GPUs, and would replace timm's layers that normalise and activate.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.nn import functional

normalize_local_batch = functional.batch_norm


class MeanOverProcesses(torch.autograd.Function):
    """The mean of a tensor over all processes, through which gradients flow to each of them."""

    @staticmethod
    def forward(ctx, tensor: torch.Tensor) -> torch.Tensor:
        """Return the mean."""
        mean = tensor.clone()
        dist.all_reduce(mean)
        return mean / dist.get_world_size()

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        """Return the mean of the gradients."""
        return MeanOverProcesses.forward(ctx, gradient.contiguous())


def normalize_shared_batch(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
) -> torch.Tensor:
    """Normalise [n, C, ...] as torch.nn.functional.batch_norm does, by statistics of all processes.

    Each has n values, so that the mean of their means is the mean.
    """
    if not training:
        arguments = running_mean, running_var, weight, bias, training, momentum, eps
        return normalize_local_batch(input, *arguments)
    values = input.float()
    dims = [dim for dim in range(input.dim()) if dim != 1]
    shape = [-1 if dim == 1 else 1 for dim in range(input.dim())]
    moments = torch.stack([values.mean(dims), values.square().mean(dims)])
    mean, square = MeanOverProcesses.apply(moments)
    var = (square - mean.square()).clamp(min=0)
    if running_mean is not None:
        count = values.numel() // len(mean) * dist.get_world_size()
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((var * count / (count - 1)).to(running_var), momentum)
    scale = (var + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    return torch.addcmul(shift.view(shape), values, scale.view(shape)).to(input.dtype)


@contextmanager
def shared_batch_statistics() -> Iterator[None]:
    """Normalise by the statistics of all processes within this block."""
    with patch.object(functional, "batch_norm", normalize_shared_batch):
        yield
