"""DeepLIFT for networks with SiLU, GELU, Hardswish and squeeze-and-excitation.

Captum's DeepLift knows the rule of ReLU, ELU, sigmoid, tanh, softplus, softmax and max pooling, by
the exact type of a module. It takes any other activation, and the product of a feature with its
gate, for linear, and its attributions then no longer add up to the difference of the logits; nor
do they where windows of max pooling overlap.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

import torch
from captum.attr import DeepLift
from torch import nn
from torch.nn import functional
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

ACTIVATIONS = {
    *(functional.silu, functional.gelu, functional.hardswish, functional.hardsigmoid),
    *(functional.mish, functional.relu6, functional.hardtanh, functional.relu),
    *(functional.elu, functional.leaky_relu, functional.softplus, functional.selu),
    *(torch.relu, torch.Tensor.relu, torch.sigmoid, torch.Tensor.sigmoid),
    *(torch.tanh, torch.Tensor.tanh),
}
PRODUCTS = {torch.mul, torch.Tensor.mul, torch.Tensor.__mul__, torch.Tensor.__rmul__}
POOLS = {torch.max_pool2d, functional.max_pool2d}
SMALLEST_CHANGE = 1e-6  # below it the slope between input and reference is the derivative


class RescaleRule(TorchFunctionMode):
    """Replace gradients of activations and products by DeepLIFT's multipliers.

    The first half of each batch are inputs, the second half their references. An activation gets
    the slope between both (rescale rule, Shrikumar et al. 2017). A factor of a product gets the
    mean of the other factor over both, which shares the change between the factors and leaves no
    rest, as Shapley's value of two players does. A maximum of a and b is a + ReLU(b - a).
    """

    def __torch_function__(
        self,
        func: Callable,
        types: Iterable[type],
        args: tuple = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute a function of torch, and set its gradient."""
        kwargs = kwargs or {}
        needs_gradient = [isinstance(value, torch.Tensor) and value.requires_grad for value in args]
        if func in ACTIVATIONS and needs_gradient[:1] == [True]:
            return rescale(lambda tensor: func(tensor, *args[1:], **kwargs), args[0])
        if func in POOLS and needs_gradient[:1] == [True] and not kwargs.get("ceil_mode"):
            return pool_maximum(*args, **kwargs)
        if func in PRODUCTS and needs_gradient == [True, True]:
            return share_product(*args)
        return func(*args, **kwargs)


def rescale(activation: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor):
    """Return an activation of inputs [2N, ...] whose gradient is the slope from the reference."""
    point = inputs.detach().requires_grad_()
    with torch.enable_grad():
        outputs = activation(point)
        (derivative,) = torch.autograd.grad(outputs.sum(), point)
    change, change_of_output = subtract_reference(point), subtract_reference(outputs)
    small = change.abs() < SMALLEST_CHANGE
    slope = torch.where(small, derivative, change_of_output / change.masked_fill(small, 1))
    return outputs.detach() + slope.detach() * (inputs - inputs.detach())


def share_product(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return a product whose gradient for a factor is the mean of the other over both halves."""
    product = first.detach() * second.detach()
    product = product + average_reference(second) * (first - first.detach())
    return product + average_reference(first) * (second - second.detach())


def pool_maximum(
    inputs: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    **_: Any,
) -> torch.Tensor:
    """Return the maxima of windows of [2N, D, H, W] as a chain of maxima of two.

    The arguments are those of torch.max_pool2d. The padding repeats the edge, which every window
    at the edge contains.
    """
    kernel, pad, gap = (_pair(value) for value in (kernel_size, padding, dilation))
    step = _pair(stride or kernel_size)
    padded = functional.pad(inputs, (pad[1], pad[1], pad[0], pad[0]), mode="replicate")
    span = [gap[axis] * (kernel[axis] - 1) for axis in (0, 1)]
    ends = [padded.shape[2 + axis] - span[axis] for axis in (0, 1)]
    windows = (
        padded[:, :, top : top + ends[0] : step[0], left : left + ends[1] : step[1]]
        for top in range(0, span[0] + 1, gap[0])
        for left in range(0, span[1] + 1, gap[1])
    )
    return reduce(lambda first, other: first + rescale(functional.relu, other - first), windows)


def subtract_reference(values: torch.Tensor) -> torch.Tensor:
    """Return input minus reference of values [2N, ...], for both halves."""
    values, reference = values.detach().chunk(2)
    return torch.cat([values - reference] * 2)


def average_reference(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of input and reference of values [2N, ...], for both halves."""
    values, reference = values.detach().chunk(2)
    return torch.cat([(values + reference) / 2] * 2)


class RescaledDeepLift(DeepLift):
    """Captum's DeepLift with the rules of RescaleRule in place of those that it hooks."""

    def _is_non_linear(self, module: nn.Module) -> bool:
        return False

    def _construct_forward_func(self, *args: Any, **kwargs: Any) -> Callable[[], torch.Tensor]:
        forward = super()._construct_forward_func(*args, **kwargs)

        def forward_with_rule() -> torch.Tensor:
            with RescaleRule():
                return forward()

        return forward_with_rule
