"""Where a network sees evidence for a label: the map that the function serves, for any label."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from fieldmark.network.head import fold_head
from fieldmark.network.network import Network


def compute_class_maps(
    network: Network, pixels: np.ndarray, labels: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Return the signed evidence for a label at each position of a photo, float32 [N, h, w].

    `pixels` are prepared photos, uint8 [N, S, S, 3], `labels` [N] are indices. The mean of a map
    plus a constant is the label's logit (class activation maps, Zhou et al. 2016); the served heat
    map is its positive part, divided by its maximum. The maps of sub-classes are averaged by their
    probabilities, and then only nearly add up to the logit. Maps of networks without positions are
    1 x 1.
    """
    network.model.eval()
    with torch.no_grad():
        photos = network.preparation.normalize(pixels).to(network.device)
        features = network.backbone(photos).float().cpu()
        return map_features(features, network.head, network.label_index, labels).numpy()


def map_features(
    features: torch.Tensor,
    head: nn.Sequential,
    label_index: np.ndarray | None,
    labels: Sequence[int] | np.ndarray | torch.Tensor,
) -> torch.Tensor:
    """Return the class maps [N, h, w] of features [N, D, h, w], as `compute_class_maps` does.

    `label_index` [B] is the label of each sub-class; None where the classes are the labels.
    """
    weight, bias = fold_head(head)
    logits = features.mean((2, 3)) @ weight.T + bias
    index = torch.arange(len(weight)) if label_index is None else torch.from_numpy(label_index)
    is_member = index[None] == torch.as_tensor(labels)[:, None]
    share = logits.masked_fill(~is_member, -torch.inf).softmax(1)
    return torch.einsum("ndhw,nd->nhw", features, share @ weight)
