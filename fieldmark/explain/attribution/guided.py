"""Guided backpropagation for networks with SiLU, GELU and other activations than ReLU."""

import torch
from captum._utils.common import _register_backward_hook
from captum.attr import GuidedBackprop, GuidedGradCam
from torch import nn

from fieldmark.errors import NetworkError

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish, nn.LeakyReLU, nn.ELU)


class GuidedActivations(GuidedBackprop):
    """Captum's GuidedBackprop for all activations that resemble ReLU; Captum's hooks ReLU alone.

    A gradient passes an activation where it is positive and where the activation rises. For ReLU
    this is the rule of Springenberg et al. (2015). Smooth activations fall a little below zero;
    without the second condition the sign of a gradient would change there.
    """

    def _register_hooks(self, module: nn.Module) -> None:
        if isinstance(module, RECTIFIERS):
            self.backward_hooks += _register_backward_hook(module, self._backward_hook, self)

    def _backward_hook(self, module: nn.Module, grad_input, grad_output) -> torch.Tensor:
        return grad_input.clamp(min=0) * (grad_output > 0)


class GuidedActivationsCam(GuidedGradCam):
    """Captum's GuidedGradCam (Selvaraju et al. 2017) with GuidedActivations.

    Raises NetworkError for a network without a module that resembles ReLU.
    """

    def __init__(self, model: nn.Module, layer: nn.Module):
        super().__init__(model, layer)
        if not any(isinstance(module, RECTIFIERS) for module in model.modules()):
            raise NetworkError("Guided Grad-CAM needs ReLU, SiLU, GELU or a similar module.")
        self.guided_backprop = GuidedActivations(model)
