"""TensorFlow's padding, `pad_type: same`, without computing it anew for each photo."""

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn
from torch.nn import functional


class EvenConv2dSame(nn.Conv2d):
    """A Conv2dSame for inputs whose sides are multiples of its stride: its padding is constant.

    The sides of a finder's input are multiples of all strides. Padding that depends on free sides
    takes torch many minutes to export, and nodes of the graph.
    """

    def __init__(self, conv: Conv2dSame):
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            dilation=conv.dilation,
            groups=conv.groups,
            bias=conv.bias is not None,
        )
        self.weight, self.bias = conv.weight, conv.bias
        sides = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
        rows, columns = (
            max(0, (kernel - 1) * dilation + 1 - stride) for kernel, stride, dilation in sides
        )
        self.pads = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the convolution of padded maps."""
        return super().forward(functional.pad(maps, self.pads))


def fix_same_padding(module: nn.Module) -> nn.Module:
    """Replace each Conv2dSame in a module, which keeps its weights; return the module."""
    for name, child in module.named_children():
        if isinstance(child, Conv2dSame):
            setattr(module, name, EvenConv2dSame(child))
        else:
            fix_same_padding(child)
    return module
