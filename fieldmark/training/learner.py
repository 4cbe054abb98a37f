"""A fastai Learner around a Network, whose frozen backbone does not change."""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path

import numpy as np
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import (
    AccumMetric,
    DataLoaders,
    LabelSmoothingCrossEntropy,
    Learner,
    accuracy,
    params,
    top_k_accuracy,
)
from timm.models import group_parameters
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from fieldmark.data.subclasses import class_names
from fieldmark.errors import NetworkError
from fieldmark.evaluation import calibration
from fieldmark.network.embeddings import compute_features
from fieldmark.network.network import Network
from fieldmark.network.subclasses import group_classes, sum_classes
from fieldmark.training.callbacks import FreezeBatchNorm
from fieldmark.training.distributed import compute_in_parts, share_weights
from fieldmark.training.fit import OPTIMIZERS
from fieldmark.training.memory import keep_freed_memory


def make_learner(
    network: Network,
    dls: DataLoaders,
    label_smoothing: float = 0.1,
    optimizer: str = "adamw",
    weight_decay: float = 0.01,
    batch_norm: str = "auto",
) -> Learner:
    """Return a Learner that trains a network; a pretrained backbone starts frozen.

    `batch_norm` is `frozen` to keep the running statistics of the backbone, `train` to update them,
    or `auto`, which keeps pretrained ones. Raises NetworkError if the DataLoaders have other labels
    than the network. The network is the Learner's attribute `network`.
    """
    if list(dls.vocab) != network.classes:
        raise NetworkError(
            f"The photos have {len(dls.vocab)} labels and the network {len(network.classes)}, or "
            "in another order. Create the network with the labels of the photos."
        )
    keep_freed_memory()
    share_weights(network.model)
    freezes = network.pretrained if batch_norm == "auto" else batch_norm == "frozen"
    learn = Learner(
        dls,
        network.model,
        LabelSmoothingCrossEntropy(label_smoothing),
        metrics=[
            AccumMetric(by_label(metric, network.label_index), flatten=False)
            for metric in (accuracy, top_5, log_loss)
        ],
        splitter=layer_groups,
        train_bn=not freezes,
        cbs=[ChannelsLast(), *([FreezeBatchNorm()] if freezes else [])],
        opt_func=OPTIMIZERS[optimizer],
        wd=weight_decay,
    )
    learn.network = network
    # fastai moves the model at the first fit, but embeddings are computed before
    learn.model.to(dls.device, memory_format=torch.channels_last)
    if network.pretrained:
        learn.freeze()
    return learn


def layer_groups(model: nn.Sequential) -> list[list[nn.Parameter]]:
    """Return the parameters by timm's layer groups, the stem first and the head last."""
    backbone = model[0].model
    names = group_parameters(backbone, backbone.group_matcher(coarse=True))
    groups = [[backbone.get_parameter(name) for name in names[key]] for key in sorted(names)]
    return [*(group for group in groups if group), params(model[1])]


def layer_learning_rates(learn: Learner, learning_rate: float, layer_decay: float) -> list[float]:
    """Return a learning rate for each layer group.

    The head has `learning_rate`, each group below it `layer_decay` times that of the next.
    """
    count = len(learn.splitter(learn.model))
    return [learning_rate * layer_decay**depth for depth in reversed(range(count))]


def embed_splits(
    learn: Learner, folder: Path, precision: str = "float32", backbone: nn.Module | None = None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return embeddings [n, D] and class indices [n] of a Learner's `train` and `valid` photos.

    Photos in `folder` are prepared as for validation. `backbone` is another module than the
    Learner's own backbone, for photos in the same normalisation. Processes that train together
    compute a part each, and have all of them.
    """
    network, splits = learn.network, {}
    for split, loader in (("train", learn.dls.train), ("valid", learn.dls.valid)):
        files = [folder / path for path in loader.items["path"]]
        labels = np.array([network.classes.index(name) for name in class_names(loader.items)])
        module = backbone or network.backbone
        compute = partial(compute_features, module, network.preparation, precision=precision)
        splits[split] = compute_in_parts(compute, files), labels
    return splits


def head_learner(learn: Learner, embeddings: dict[str, tuple[np.ndarray, np.ndarray]]) -> Learner:
    """Return a Learner of the head alone, which trains on the embeddings of `embed_splits`.

    A frozen backbone computes the same embedding of a photo every time, so an epoch takes a moment
    and the backbone cannot change. The head is the one of `learn`. No workers are forked for what
    is in memory: a fork of a process whose trackers have threads may never end.
    """
    datasets = [
        TensorDataset(torch.from_numpy(vectors)[..., None, None], torch.from_numpy(labels))
        for vectors, labels in (embeddings["train"], embeddings["valid"])
    ]
    return Learner(
        DataLoaders.from_dsets(*datasets, bs=learn.dls.bs, device=learn.dls.device, num_workers=0),
        learn.network.head,
        learn.loss_func,
        opt_func=learn.opt_func,
        wd=learn.wd,
        metrics=learn.metrics,
        path="runs",  # where lr_find saves the weights temporarily
    )


def by_label(metric: Callable, label_index: np.ndarray | None) -> Callable:
    """Return a metric of logits of sub-classes [n, B] that measures those of their labels.

    `label_index` [B] is the label of each class; None: classes are labels.
    """
    if label_index is None:
        return metric
    index, groups = torch.from_numpy(label_index), group_classes(label_index)

    @wraps(metric)
    def measured(predictions: torch.Tensor, targets: torch.Tensor):
        logits, classes = (
            values.as_subclass(torch.Tensor).float() for values in (predictions, targets)
        )
        labels = index.to(classes.device)[classes.long()]
        return metric(sum_classes(logits, groups.to(logits.device)), labels)

    return measured


def top_5(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the proportion of labels among the five most probable, or all of fewer than five."""
    return top_k_accuracy(predictions, targets, k=min(5, predictions.shape[-1]))


def log_loss(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the cross-entropy of logits [n, C] divided by the temperature that minimises it.

    The model file has a temperature of its own, so the overconfidence of a network must not choose
    the epoch.
    """
    logits, labels = (values.as_subclass(torch.Tensor).cpu() for values in (predictions, targets))
    temperature = calibration.fit_temperature(logits.float().numpy(), labels.numpy())
    return float(functional.cross_entropy(logits.float() / temperature, labels))
