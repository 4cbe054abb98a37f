"""A network is created, saved and loaded by itself: without photos, without fastai."""

import numpy as np
import pytest
import torch
from fastai.vision.all import add_head
from torch import nn

from birds import drawn, photo
from birds.classifier import Classifier
from fieldmark.errors import ExportError, NetworkError, RunError
from fieldmark.network.ensemble import join_networks
from fieldmark.network.head import create_head, fold_head
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from tests.conftest import ARCH, LABELS, SIZE, create_network

PIXELS = np.stack([drawn.draw_bird(name, 1, SIZE, SIZE) for name in drawn.SPECIES])


def logits(network: Network) -> torch.Tensor:
    return network.forward_pixels(PIXELS)[0]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_head_is_the_one_that_fastai_would_create_from_the_same_seed(dropout):
    torch.manual_seed(3)
    head = create_head(32, 7, dropout)
    drawn_next = torch.rand(1)
    torch.manual_seed(3)
    _, expected = add_head(nn.Identity(), 32, 7, lin_ftrs=[], concat_pool=False, ps=dropout)
    assert torch.equal(drawn_next, torch.rand(1))
    assert [type(m).__name__ for m in head] == [type(m).__name__ for m in expected]
    assert head.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(head.state_dict()[name], tensor), name
    assert [m.p for m in head if isinstance(m, nn.Dropout)] == ([dropout] if dropout else [])


def test_a_folded_head_gives_the_same_logits():
    head = create_head(8, 3).train()
    head(torch.randn(50, 8, 2, 2) * 3 + 1)  # running statistics unlike the identity
    weight, bias = fold_head(head.eval())
    maps = torch.randn(4, 8, 2, 2)
    assert torch.allclose(maps.mean((2, 3)) @ weight.T + bias, head(maps), atol=1e-5)
    with pytest.raises(ExportError, match="ReLU"):
        fold_head(nn.Sequential(*head, nn.ReLU()))


def test_the_preparation_follows_from_the_architecture_unless_given():
    preparation = Preparation.for_arch("tf_efficientnetv2_b0")
    assert (preparation.size, preparation.filter) == (224, "bicubic")
    assert preparation.mean == (0.485, 0.456, 0.406)
    assert Preparation.for_arch("vgg16").filter == "bilinear"
    other = Preparation.for_arch(ARCH, 48, mean=[0.5] * 3, drop_path_rate=0.1)
    assert (other.size, other.mean) == (48, (0.5,) * 3)
    assert Preparation.from_card({"preparation": other.to_card()}) == other


def test_pixels_are_prepared_as_the_function_does_and_normalised_by_channel():
    preparation = Preparation(SIZE, "bilinear", (0.1, 0.2, 0.3), (0.5, 1.0, 2.0))
    data = drawn.awkward_photos()["wide"]
    pixels = preparation.prepare(data)
    assert np.array_equal(pixels, photo.prepare(data, SIZE, "bilinear"))
    normal = preparation.normalize(pixels[None])
    expected = (pixels[..., 2].astype(float) / 255 - 0.3) / 2
    assert normal.shape == (1, 3, SIZE, SIZE)
    assert normal[0, 2].numpy() == pytest.approx(expected, abs=1e-6)


def test_a_saved_network_is_loaded_from_its_run_alone(run):
    network, classifier = Network.load(run), Classifier(run / "birds.onnx")
    assert (network.arch, network.labels) == (ARCH, LABELS)
    assert not network.model.training
    probability = (logits(network) / classifier.card["temperature"]).softmax(1)
    assert probability.numpy() == pytest.approx(classifier.predict(PIXELS).probability, abs=1e-4)


@pytest.mark.parametrize("weights_dtype", ["fp32", "fp16"])
def test_what_is_saved_is_what_is_loaded(run, tmp_path, weights_dtype):
    network = create_network("random")
    if weights_dtype == "fp16":
        network.round_to_half()
    card = Classifier(run / "birds.onnx").card | {"version": ""}  # which states other weights
    network.save(tmp_path / "birds.safetensors", card, weights_dtype)
    again = Network.load(tmp_path)
    assert torch.equal(logits(again), logits(network))
    expected = [torch.float32, torch.float16][weights_dtype == "fp16"]
    assert network.stored_weights(weights_dtype)["1.4.weight"].dtype == expected
    assert network.stored_weights(weights_dtype)["1.2.running_var"].dtype == torch.float32


def test_an_ensemble_is_saved_and_loaded_as_one_network(run, tmp_path):
    networks = [Network.load(run), create_network("random", "test_resnet")]
    joined = join_networks(networks, [0.5, 2.0])
    expected = (logits(networks[0]) / 0.5 + logits(networks[1]) / 2) / 2
    assert torch.allclose(logits(joined), expected, atol=1e-4)
    card = Classifier(run / "birds.onnx").card
    card |= {"architecture": joined.arch, "members": joined.members, "version": ""}
    joined.save(tmp_path / "birds.safetensors", card, "fp32")
    again = Network.load(tmp_path)
    assert torch.equal(logits(again), logits(joined))
    assert again.members == joined.members


def test_a_run_whose_photos_were_prepared_otherwise_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(photo, "centre_square", lambda width, height: (0, 0, min(width, height)))
    with pytest.raises(RunError, match=r"wide.*--new-preparation"):
        Network.load(run)
    assert Network.load(run, check_preparation=False).labels == LABELS
    with pytest.raises(RunError, match=r"birds\.safetensors"):
        Network.load(tmp_path)


def test_options_that_timm_does_not_know_are_reported():
    with pytest.raises(NetworkError, match="no_such_option"):
        create_network("random", no_such_option=1)


def test_a_weight_beyond_float16_is_reported():
    network = create_network("random")
    network.head[-1].weight.data[0, 0] = 1e6
    with pytest.raises(NetworkError, match=r"1\.4\.weight"):
        network.round_to_half()
