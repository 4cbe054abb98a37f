"""Embeddings are the same by torch and onnxruntime, in the order of the files."""

import numpy as np
import pytest
import torch
from torch import nn

from fieldmark.errors import DatasetError, TrainingError
from fieldmark.network import embeddings, precision
from fieldmark.network.embeddings import compute_embeddings, compute_features
from tests import networks  # noqa: F401
from tests.conftest import create_network


@pytest.fixture
def files(folder):
    return sorted(folder.glob("*/*.jpg"))[:41]  # neither batch size divides it


@pytest.fixture
def export_always(monkeypatch):
    monkeypatch.setattr(embeddings, "WORTH_EXPORTING", 0.0)


@pytest.mark.parametrize("arch", ["test_efficientnet", "test_convnext", "test_vit2", "little_beit"])
def test_torch_and_onnxruntime_compute_the_same_embeddings(arch, files, monkeypatch):
    network, sessions = create_network("random", arch), []
    expected = compute_embeddings(network, files)
    monkeypatch.setattr(embeddings, "WORTH_EXPORTING", 0.0)
    export = embeddings.export_to_onnxruntime
    monkeypatch.setattr(
        embeddings,
        "export_to_onnxruntime",
        lambda *arguments: sessions.append(export(*arguments)) or sessions[-1],
    )
    exported = compute_embeddings(network, files)
    assert sessions[0]
    assert exported.shape == (41, network.backbone.width)
    assert exported.dtype == np.float32
    assert np.abs(exported - expected).max() < 1e-4 * np.abs(expected).max()
    pixels = np.stack([network.preparation.prepare(file.read_bytes()) for file in files])
    _, by_network = network.forward_pixels(pixels)
    assert expected == pytest.approx(by_network.numpy(), abs=1e-4 * float(np.abs(expected).max()))


class Unexportable(nn.Module):
    """Compute with numpy, which no exporter follows, if it is not the first time differently."""

    def __init__(self, drifts: bool):
        super().__init__()
        self.scale, self.drifts = nn.Parameter(torch.ones(1)), drifts

    def forward(self, photos):
        if self.drifts and torch.onnx.is_in_onnx_export():
            return photos.mean((2, 3)) + self.scale
        vectors = photos.mean((2, 3)) * self.scale
        return vectors if self.drifts else torch.from_numpy(vectors.numpy().copy())


@pytest.mark.parametrize("drifts", [False, True])
@pytest.mark.usefixtures("export_always")
def test_torch_computes_what_cannot_be_exported_faithfully(files, drifts):
    preparation = create_network("random").preparation
    module = Unexportable(drifts).requires_grad_(False)
    vectors = compute_features(module, preparation, files)
    pixels = np.stack([preparation.prepare(file.read_bytes()) for file in files])
    expected = preparation.normalize(pixels).mean((2, 3)).numpy()
    assert vectors == pytest.approx(expected, abs=1e-5)


@pytest.mark.usefixtures("export_always")
def test_a_photo_that_cannot_be_decoded_is_named(files, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(files[0].read_bytes()[:500])
    for place in (0, 40):  # one is computed by torch, the other by onnxruntime
        with pytest.raises(DatasetError, match=r"bad\.jpg"):
            compute_embeddings(create_network("random"), [*files[:place], bad, *files[place:]])


def test_embeddings_in_bfloat16_are_nearly_those_in_float32(files):
    network = create_network("random")
    exact = compute_embeddings(network, files[:8])
    mixed = compute_embeddings(network, files[:8], "bfloat16")
    assert mixed.dtype == np.float32
    assert not np.array_equal(mixed, exact)
    assert mixed == pytest.approx(exact, abs=0.05 * float(np.abs(exact).max()))


@pytest.mark.parametrize(
    ("device", "bfloat16", "expected"),
    [
        ("cuda", True, "bfloat16"),
        ("cuda", False, "float16"),
        ("cpu", True, "bfloat16"),
        ("cpu", False, "float32"),
        ("mps", True, "float32"),
    ],
)
def test_auto_is_the_precision_that_the_device_computes_fastest(
    monkeypatch, device, bfloat16, expected
):
    monkeypatch.setattr(precision, "is_bfloat16_faster", lambda: bfloat16)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)
    assert precision.choose_precision("auto", device) == expected
    assert precision.choose_precision("float32", device) == "float32"


@pytest.mark.parametrize(("device", "wanted"), [("cpu", "float16"), ("mps", "bfloat16")])
def test_a_precision_that_the_device_does_not_support_is_refused(device, wanted):
    with pytest.raises(TrainingError, match=wanted):
        precision.choose_precision(wanted, device)


def test_autocast_covers_only_mixed_precision():
    assert precision.is_bfloat16_faster() in (True, False)
    with precision.autocast("bfloat16", "cpu"):
        assert torch.is_autocast_enabled("cpu")
    with precision.autocast("float32", "cpu"):
        assert not torch.is_autocast_enabled("cpu")
