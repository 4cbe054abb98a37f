"""Every family of networks is trained and exported, with a map where it has one."""

import numpy as np
import onnx
import pytest
import timm
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file
from torch import nn

from birds import api, drawn
from birds.classifier import Classifier
from export import model_file
from export.exporter import export_model
from export.graph import Graph
from fieldmark.errors import NetworkError
from fieldmark.network.backbone import Backbone, timm_options
from tests import networks  # noqa: F401
from tests.conftest import FACTS, SIZE, create_network
from tests.training.conftest import changed_tensors, copy_state
from tests.training.test_learner import fit

FAMILIES = {  # a small network of each, the size of its photos, and the side of its map
    "EfficientNet": ("test_efficientnet", SIZE, 2),
    "ResNet": ("test_resnet", SIZE, 2),
    "ResNeXt": ("little_resnext", SIZE, 2),
    "Inception v3": ("little_inception", 107, 2),  # the smallest size with a map
    "Inception v4": ("little_inception_v4", 107, 2),
    "PNASNet": ("little_pnasnet", SIZE, 4),
    "ConvNeXt": ("test_convnext", SIZE, 2),
    "Swin": ("little_swin", SIZE, 8),
    "ViT, mean of its patches": ("test_vit2", SIZE, 4),
    "ViT, class token": ("test_vit", SIZE, None),
    "MobileNetV3": ("little_mobilenetv3", SIZE, None),
}
BACKBONES = FAMILIES | {
    "ViT, attention pooling": ("test_vit3", SIZE, None),
    "ViT, relative positions": ("test_vit_relpos", SIZE, 4),
    "MambaOut": ("test_mambaout", SIZE, None),
    "MaxViT": ("test_maxvit", SIZE, 2),
    "BEiT": ("little_beit", SIZE, 4),
}


def birds(size: int) -> torch.Tensor:
    """Return a drawn bird of each species, [6, 3, size, size]."""
    pixels = np.stack([drawn.draw_bird(name, 1, size, size) for name in drawn.SPECIES])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.45) / 0.225


def network(arch: str, size: int) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(arch, num_classes=0, **timm_options(arch, size))


def pretrained(arch: str, size: int, path):
    """Save weights whose running statistics come from drawn birds."""
    model = network(arch, size)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(birds(size))
    save_file(model.state_dict(), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_frozen_trained_and_exported(family, new_learner, table, folder, tmp_path):
    arch, size, side = FAMILIES[family]
    learn = new_learner(pretrained(arch, size, tmp_path / "start.safetensors"), arch, size)
    backbone = learn.model[0]
    grouped = [id(p) for group in learn.splitter(learn.model) for p in group]
    assert sorted(grouped) == sorted(id(p) for p in learn.model.parameters())
    before = copy_state(backbone)
    fit(learn, 1, 0.01)
    assert changed_tensors(before, backbone) == []
    learn.unfreeze()
    fit(learn, 1, 0.001)
    trained = {name for name, _ in backbone.named_parameters()}
    assert trained <= set(changed_tensors(before, backbone))
    # the predictions of such a network depend on the last digits of its weights, so these are
    # rounded before the comparison
    learn.network.round_to_half()
    card = export_model(learn.network, table, folder, FACTS, tmp_path / "run")
    assert card["gate"]["largest_difference"] < 1e-4
    pixels = np.stack([drawn.draw_bird("Night_Inkling", seed, size, size) for seed in range(3)])
    heatmap = Classifier(tmp_path / "run" / "birds.onnx").predict(pixels).heatmap
    assert heatmap.shape == (3, side or 1, side or 1)
    assert heatmap.any() == bool(side)


@pytest.mark.parametrize("family", BACKBONES)
def test_the_mean_of_the_map_is_the_vector_of_timms_classifier(family):
    arch, size, side = BACKBONES[family]
    backbone = Backbone(network(arch, size), size).eval()
    for module in backbone.modules():
        if isinstance(module, nn.LayerNorm):  # as if trained
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        maps, expected = backbone(birds(size)), backbone.model(birds(size))
    assert backbone.map_size == (side and {"height": side, "width": side})
    assert maps.shape == (6, backbone.width, side or 1, side or 1)
    tolerance = 1e-5 * float(expected.abs().max())
    assert torch.allclose(maps.mean((2, 3)), expected, rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("arch", ["test_efficientnet", "test_convnext", "little_swin", "test_vit2"])
@pytest.mark.parametrize(("down", "across"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_change_in_a_corner_of_the_photo_changes_that_corner_of_the_map(arch, down, across):
    backbone = Backbone(network(arch, 128), 128).eval()
    photo = torch.randn(1, 3, 128, 128)
    changed = photo.clone()
    changed[:, :, 96 * down :, 96 * across :][:, :, :32, :32] = 0
    with torch.no_grad():
        difference = (backbone(photo) - backbone(changed)).abs().sum(1)
    corners = nn.functional.adaptive_avg_pool2d(difference, 2)[0]
    assert corners.argmax() == 2 * down + across


def test_measuring_the_layout_leaves_the_random_state_alone():
    model = network("test_vit2", SIZE)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Backbone(model, SIZE)
    assert torch.equal(torch.rand(1), expected)
    assert model.training


def test_a_map_of_one_position_is_none():
    assert Backbone(network("test_efficientnet", 32), 32).map_size is None


def test_weights_of_another_size_are_resampled_to_the_size_of_the_photos(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(network("test_vit2", 160).state_dict(), file)
    backbone = create_network(file, "test_vit2").backbone
    block = "blocks.0.attn.qkv.weight"
    assert torch.equal(backbone.model.state_dict()[block], load_file(file)[block])
    assert backbone.map_size == {"height": 4, "width": 4}


def test_a_size_that_the_network_does_not_accept_is_reported():
    with pytest.raises(NetworkError, match=r"little_inception .* 64 pixels .* `size: 0`"):
        create_network("random", "little_inception", 64)


def test_the_heat_map_of_a_model_without_a_map_is_null(model, tmp_path):
    proto = onnx.load(model)
    card = Classifier(model).card
    model_file.write_model(proto, card | {"heatmap": None}, tmp_path / "birds.onnx")
    client = TestClient(api.create_app(tmp_path / "birds.onnx"))
    photo = drawn.encode_photo(drawn.draw_bird("Night_Inkling"))
    assert client.post("/api/classify?heatmap=true", content=photo).json()["heatmap"] is None
    assert client.get("/api/model").json()["heatmap"] is None


def test_attention_that_torch_cannot_export_fused_is_exported():
    network = create_network("random", "little_beit")
    assert model_file.export_graph(Graph(network), SIZE).graph.output[2].name == "heatmap"


def test_a_graph_has_the_size_of_its_map():
    graphs = [Graph(create_network("random", arch)) for arch in ("little_swin", "test_vit")]
    sizes = [graph.outputs.map_size for graph in graphs]
    assert sizes == [{"height": 8, "width": 8}, None]
