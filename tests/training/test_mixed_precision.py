"""Mixed precision on a CPU: what stays in float32, and nothing of it is left behind."""

import pytest
import timm
import torch
from fastai.vision.all import Callback
from torch import nn

from fieldmark.training import mixed_precision
from fieldmark.training.mixed_precision import (
    CPUMixedPrecision,
    keep_in_float32,
    mixed_precision_callbacks,
)


def test_each_device_gets_its_callback(monkeypatch):
    kinds = {}
    for device, precision in (("cuda", "bfloat16"), ("cuda", "float16"), ("cpu", "bfloat16")):
        monkeypatch.setattr(mixed_precision, "default_device", lambda d=device: torch.device(d))
        (kinds[device, precision],) = mixed_precision_callbacks(precision)
        assert mixed_precision_callbacks("float32") == []
    assert kinds["cuda", "bfloat16"].amp_mode.value == "bf16"
    assert kinds["cuda", "float16"].amp_mode.value == "fp16"
    assert isinstance(kinds["cpu", "bfloat16"], CPUMixedPrecision)


class OutputTypes(Callback):
    """Record the dtype of the output of each convolution."""

    order = 20  # after the callback under test

    def before_fit(self):
        self.dtypes = {}
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(self.record(name))

    def record(self, name):
        def hook(_, __, output):
            self.dtypes[name] = output.dtype

        return hook


@pytest.mark.slow
def test_a_network_trains_in_bfloat16_and_its_weights_stay_float32(new_learner):
    learn, types = new_learner(), OutputTypes()
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging():
        learn.fit(5, 2e-3, cbs=[CPUMixedPrecision(), types])
    assert set(types.dtypes.values()) == {torch.bfloat16}
    assert {p.dtype for p in learn.model.parameters()} == {torch.float32}
    losses = [row[0] for row in learn.recorder.values]
    assert losses[-1] < losses[0]


def test_depthwise_convolutions_with_a_stride_compute_in_float32():
    input_dtypes = []
    strided = nn.Conv2d(8, 8, 3, stride=2, groups=8)
    hooks = keep_in_float32(strided)
    strided.register_forward_pre_hook(lambda _, inputs: input_dtypes.append(inputs[0].dtype))
    maps = torch.randn(2, 8, 9, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = strided(maps)
        assert torch.is_autocast_enabled("cpu")
    assert (input_dtypes, output.dtype) == ([torch.float32], torch.bfloat16)
    with torch.no_grad():
        expected = nn.functional.conv2d(maps.float(), strided.weight, strided.bias, 2, groups=8)
    assert torch.equal(output, expected.bfloat16())
    assert strided(maps.float()).dtype == torch.float32  # outside of mixed precision
    for hook in hooks:
        hook.remove()
    assert not keep_in_float32(nn.Conv2d(8, 8, 3, groups=8))
    assert not keep_in_float32(nn.Conv2d(8, 8, 3, stride=2))


def test_the_architecture_of_the_published_model_has_two_of_them():
    with torch.device("meta"):
        network = timm.create_model("tf_efficientnetv2_b0", num_classes=0)
    assert sum(bool(keep_in_float32(module)) for module in network.modules()) == 2


def test_after_a_fit_the_network_is_as_before(new_learner):
    learn = new_learner()
    photos, _ = learn.dls.valid.one_batch()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.0, cbs=[CPUMixedPrecision()])
    assert not [m for m in learn.model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not torch.is_autocast_enabled("cpu")
    with torch.no_grad():
        assert learn.model.eval()(photos).dtype == torch.float32


def test_a_convolution_that_fails_leaves_mixed_precision_on():
    strided = nn.Conv2d(8, 8, 3, stride=2, groups=8)
    keep_in_float32(strided)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError):
            strided(torch.randn(2, 3, 9, 9))
        assert torch.is_autocast_enabled("cpu")
