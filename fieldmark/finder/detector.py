"""The finder's network: a timm backbone, a feature pyramid, and one head at a stride of 8."""

import math
from typing import Any

import torch
from timm.models._features import FeatureGetterNet
from torch import nn
from torch.nn import functional

from fieldmark.errors import NetworkError
from fieldmark.finder.same_padding import fix_same_padding
from fieldmark.network.backbone import timm_options
from fieldmark.network.preparation import Preparation
from fieldmark.network.weights import load_pretrained

STRIDE = 8  # pixels of the input for each position of the outputs
STRIDES = (8, 16, 32)  # of the backbone's feature maps
PRIOR = 0.01  # first score everywhere, so that the many empty positions do not swamp the loss
LOG_DISTANCE = 1.5  # first prediction: boxes of about 70 pixels
MAX_LOG_DISTANCE = 6.0  # boxes of at most 6,000 pixels, so that no exponential overflows
WEIGHTS_VARIABLE = "FIELDMARK_FINDER_WEIGHTS"


class Detector(nn.Module):
    """The score and the box of a bird at each position of a photo.

    `forward` takes photos, uint8 [N, H, W, 3], with H and W multiples of 32. It returns
    [N, 5, H/8, W/8]: the logit of the score, and the logarithms of the distances to the left, top,
    right and bottom of the box, in units of 8 pixels. The design follows CenterNet (Zhou et al.
    2019) and FCOS (Tian et al. 2019).

    `arch` is timm's name of the backbone, `weights` as in a recipe, `width` the number of channels
    of the pyramid. The running statistics of a pretrained backbone's batch norms stay as they are.
    Raises NetworkError for a backbone without feature maps at strides of 8, 16 and 32 pixels.
    """

    def __init__(self, arch: str, weights: str = "random", width: int = 64, **arch_options: Any):
        super().__init__()
        self.arch, self.freezes_batch_norm = arch, weights != "random"
        preparation = Preparation.for_arch(arch, **arch_options)
        for name, values in zip(("mean", "std"), preparation.statistics(), strict=True):
            self.register_buffer(f"pixel_{name}", values[None], persistent=False)
        self.backbone = feature_pyramid_backbone(arch, weights, **arch_options)
        channels = self.backbone.feature_info.channels()
        self.laterals = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.merges = nn.ModuleList(separable_convolution(width) for _ in channels[1:])
        self.tower = nn.Sequential(separable_convolution(width), separable_convolution(width))
        self.output = nn.Conv2d(width, 5, 1)
        nn.init.normal_(self.output.weight, std=0.01)
        first = torch.tensor([math.log(PRIOR / (1 - PRIOR))] + 4 * [LOG_DISTANCE])
        self.output.bias = nn.Parameter(first)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the outputs, [N, 5, H/8, W/8]."""
        pixels = photos.permute(0, 3, 1, 2).float() / 255
        features = self.backbone((pixels - self.pixel_mean) / self.pixel_std)
        maps = [lateral(each) for lateral, each in zip(self.laterals, features, strict=True)]
        merged = maps.pop()
        for merge, finer in zip(self.merges, reversed(maps), strict=True):
            merged = merge(finer + functional.interpolate(merged, scale_factor=2.0))
        return self.output(self.tower(merged))

    def train(self, mode: bool = True) -> "Detector":
        """Set the training mode, without the batch norms of a pretrained backbone."""
        super().train(mode)
        if self.freezes_batch_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the backbone, and those of the other layers."""
        backbone = list(self.backbone.parameters())
        known = {id(parameter) for parameter in backbone}
        return [backbone, [each for each in self.parameters() if id(each) not in known]]


def feature_pyramid_backbone(arch: str, weights: str, **arch_options: Any) -> FeatureGetterNet:
    """Return a timm network that computes its feature maps at strides of 8, 16 and 32 pixels."""
    options = timm_options(arch, Preparation.for_arch(arch).size, **arch_options)
    model = load_pretrained(arch, weights, variable=WEIGHTS_VARIABLE, **options)
    reductions = [row["reduction"] for row in getattr(model, "feature_info", [])]
    if not set(STRIDES) <= set(reductions) or not hasattr(model, "forward_intermediates"):
        raise NetworkError(
            f"`{arch}` has no feature maps at strides of 8, 16 and 32 pixels. Choose a "
            "convolutional network, such as mobilenetv2_100."
        )
    last = {stride: index for index, stride in enumerate(reductions)}
    return FeatureGetterNet(fix_same_padding(model), [last[stride] for stride in STRIDES])


def separable_convolution(width: int) -> nn.Sequential:
    """Return a depthwise 3 x 3 and a pointwise convolution with a batch norm."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def decode_boxes(outputs: torch.Tensor) -> torch.Tensor:
    """Return left, top, right and bottom in pixels of the input, [N, 4, h, w], of outputs."""
    distances = outputs[:, 1:].clamp(max=MAX_LOG_DISTANCE).exp() * STRIDE
    height, width = outputs.shape[2:]
    x = (torch.arange(width, device=outputs.device) + 0.5) * STRIDE
    y = (torch.arange(height, device=outputs.device)[:, None] + 0.5) * STRIDE
    left, top, right, bottom = distances.unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], 1)
