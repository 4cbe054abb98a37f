"""The oracle of the served heat map: the same map computed by torch-cam."""

import numpy as np
import torch
from torch import nn
from torchcam.methods import CAM, GradCAM

from fieldmark.explain.class_maps import compute_class_maps
from fieldmark.explain.label_logits import LabelLogits
from fieldmark.network.head import fold_head
from fieldmark.network.network import Network


def compute_cam(network: Network, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the maps of torch-cam's CAM, float32 [N, h, w].

    `pixels` are prepared photos, uint8 [N, S, S, 3], `labels` [N] indices of classes. CAM reads the
    weights of the linear layer, so that the batch norm of the head is folded into it.
    """
    weight, bias = fold_head(network.head)
    linear = nn.Linear(weight.shape[1], len(weight))
    linear.load_state_dict({"weight": weight, "bias": bias})
    folded = nn.Sequential(network.backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear).eval()
    with CAM(folded, folded[0], linear) as method, torch.no_grad():
        folded(network.preparation.normalize(pixels))
        (maps,) = method(list(map(int, labels)), normalized=False)
    return maps.numpy()


def compute_grad_cam(network: Network, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the maps of torch-cam's GradCAM times the number of positions, float32 [N, h, w].

    GradCAM follows the gradient of a label's logit through the head as it is, and keeps the
    positive part of the map.
    """
    logits = LabelLogits(network)
    with GradCAM(logits, logits.backbone) as method:
        scores = logits(network.preparation.normalize(pixels).requires_grad_())
        (maps,) = method(list(map(int, labels)), scores, normalized=False)
    return (maps * maps.shape[1:].numel()).numpy()


def compare_with_torchcam(
    network: Network, pixels: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Return the largest difference of our class maps from torch-cam's, and from the logits.

    `CAM` and `GradCAM` are those from the maps, as a share of the highest value of ours; `logit`
    is that of the mean of a map plus its label's constant from the logit, as a share of the
    highest logit. With sub-classes there is only `GradCAM`: CAM has no map of their sum.
    """
    ours = compute_class_maps(network, pixels, labels)
    largest = np.abs(ours).max()
    by_gradient = compute_grad_cam(network, pixels, labels)
    differences = {"GradCAM": float(np.abs(ours.clip(0) - by_gradient).max() / largest)}
    if network.label_index is not None:
        return differences
    by_weights = compute_cam(network, pixels, labels)
    _, bias = fold_head(network.head)
    logits = network.forward_pixels(pixels)[0].numpy()[np.arange(len(labels)), labels]
    rest = ours.mean((1, 2)) + bias.numpy()[labels] - logits
    differences["CAM"] = float(np.abs(ours - by_weights).max() / largest)
    return differences | {"logit": float(np.abs(rest).max() / np.abs(logits).max())}
