"""Mixed precision: where it pays, what stays in float32, and nothing of it is left behind."""

import numpy as np
import pytest
import timm
import torch
from fastai.vision.all import Callback
from torch import nn

from fieldmark.training import mixed_precision as precision
from fieldmark.training.mixed_precision import (
    BFloat16OnCPU,
    PrecisionError,
    mixed_precision,
    widened,
)


@pytest.fixture
def device(monkeypatch):
    """Return a function that pretends to a device."""

    def pretend(kind: str, bfloat16: bool):
        monkeypatch.setattr(precision, "default_device", lambda: torch.device(kind))
        monkeypatch.setattr(precision, "bfloat16_pays", lambda: bfloat16)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)

    return pretend


def test_auto_takes_what_the_device_computes_fastest(device):
    device("cuda", True)
    assert mixed_precision("auto")[0].amp_mode.value == "bf16"
    device("cuda", False)
    assert mixed_precision("auto")[0].amp_mode.value == "fp16"
    device("cpu", True)
    assert isinstance(mixed_precision("auto")[0], BFloat16OnCPU)
    for kind in ("cpu", "mps"):
        device(kind, False)
        assert mixed_precision("auto") == []
    device("mps", True)
    assert mixed_precision("auto") == []


def test_a_wish_that_the_device_can_not_fulfil_is_told(device):
    device("cpu", False)
    assert mixed_precision("float32") == []
    assert isinstance(mixed_precision("bfloat16")[0], BFloat16OnCPU)
    with pytest.raises(PrecisionError, match="NVIDIA"):
        mixed_precision("float16")
    device("mps", False)
    with pytest.raises(PrecisionError, match="NVIDIA"):
        mixed_precision("bfloat16")


def test_a_network_is_asked_in_the_precision_that_it_would_learn_in(device):
    device("cpu", True)
    with precision.autocast("auto"):
        assert torch.is_autocast_enabled("cpu")
    with precision.autocast("float32"):
        assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(PrecisionError, match="NVIDIA"):
        precision.autocast("float16")


def test_what_this_cpu_does_faster_is_measured():
    assert precision.bfloat16_pays() in (True, False)


class Kinds(Callback):
    """Note the kinds of numbers that convolutions take and give."""

    order = 20  # after what it watches

    def before_fit(self):
        self.found = {}
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d):
                self.found[name] = module, None
                module.register_forward_hook(self.note(name))

    def note(self, name):
        def hook(module, maps, given):
            kinds = [each.dtype for each in (maps[0], given)]
            self.found[name] = module, kinds

        return hook


def test_a_network_learns_in_bfloat16_and_its_weights_stay_float32(new_learner):
    learn, kinds = new_learner(), Kinds()
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, 5e-3, cbs=[BFloat16OnCPU(), kinds])
    assert {given for _, (_, given) in kinds.found.values()} == {torch.bfloat16}
    assert {p.dtype for p in learn.model.parameters()} == {torch.float32}
    losses = [row[0] for row in learn.recorder.values]
    assert losses[1] < losses[0]


def test_depthwise_convolutions_with_a_stride_compute_in_float32():
    seen = []
    strided = nn.Conv2d(8, 8, 3, stride=2, groups=8)
    hooks = widened(strided)
    strided.register_forward_pre_hook(lambda _, maps: seen.append(maps[0].dtype))
    photos = torch.randn(2, 8, 9, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        given = strided(photos)
        assert torch.is_autocast_enabled("cpu")
    assert (seen, given.dtype) == ([torch.float32], torch.bfloat16)
    with torch.no_grad():
        expected = nn.functional.conv2d(photos.float(), strided.weight, strided.bias, 2, groups=8)
    assert torch.equal(given, expected.bfloat16())
    assert strided(photos.float()).dtype == torch.float32  # as anywhere, without mixed precision
    for hook in hooks:
        hook.remove()
    assert not widened(nn.Conv2d(8, 8, 3, groups=8))
    assert not widened(nn.Conv2d(8, 8, 3, stride=2))


def test_the_network_that_is_shipped_has_two_of_them():
    body = timm.create_model("tf_efficientnetv2_b0", num_classes=0)
    assert sum(bool(widened(module)) for module in body.modules()) == 2


def test_after_a_fit_the_network_is_as_it_was(new_learner):
    learn = new_learner()
    photos, _ = learn.dls.valid.one_batch()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.0, cbs=[BFloat16OnCPU()])
    hooks = [m for m in learn.model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooks
    assert not torch.is_autocast_enabled("cpu")
    with torch.no_grad():
        assert learn.model.eval()(photos).dtype == torch.float32


def test_a_convolution_that_fails_leaves_mixed_precision_on():
    strided = nn.Conv2d(8, 8, 3, stride=2, groups=8)
    widened(strided)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError):
            strided(torch.randn(2, 3, 9, 9))
        assert torch.is_autocast_enabled("cpu")


def test_answers_in_bfloat16_are_nearly_those_in_float32(new_learner):
    learn = new_learner()
    photos, _ = learn.dls.valid.one_batch()
    with torch.no_grad():
        exact = learn.model.eval()(photos)
        with torch.autocast("cpu", torch.bfloat16):
            near = learn.model(photos)
    np.testing.assert_allclose(near.float().softmax(1), exact.softmax(1), atol=0.03)
