"""A fastai Learner around a Network, whose frozen backbone does not change."""

from collections.abc import Callable

import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import (
    AccumMetric,
    DataLoaders,
    LabelSmoothingCrossEntropy,
    Learner,
    accuracy,
    params,
    progress_bar,
    top_k_accuracy,
)
from timm.models import group_parameters
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from fieldmark.data.parallel import shows_progress
from fieldmark.errors import NetworkError
from fieldmark.evaluation import calibration
from fieldmark.network.network import Network
from fieldmark.training import memory
from fieldmark.training.callbacks import KeepStatistics
from fieldmark.training.fit import OPTIMIZERS
from fieldmark.training.mixed_precision import autocast


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
    if list(dls.vocab) != network.labels:
        raise NetworkError(
            f"The photos have {len(dls.vocab)} labels and the network {len(network.labels)}, or "
            "in another order. Create the network with the labels of the photos."
        )
    memory.keep()
    keep_statistics = network.pretrained if batch_norm == "auto" else batch_norm == "frozen"
    learn = Learner(
        dls,
        network.model,
        LabelSmoothingCrossEntropy(label_smoothing),
        metrics=[accuracy, top_5, AccumMetric(log_loss, flatten=False)],
        splitter=layer_groups,
        train_bn=not keep_statistics,
        cbs=[ChannelsLast(), *([KeepStatistics()] if keep_statistics else [])],
        opt_func=OPTIMIZERS[optimizer],
        wd=weight_decay,
    )
    learn.network = network
    # fastai moves the model at the first fit, but the embeddings are computed before
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


def features(
    learn: Learner, body: Callable, precision: str = "float32"
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Compute what a frozen body makes of `train` and of `valid`: ([n, D], labels [n]) of each.

    Photos are prepared as for validation; maps are pooled to their mean, in float32 whatever the
    `precision` of the body is.
    """
    made = []
    for items in (learn.dls.train.items, learn.dls.valid.items):
        seen = []
        loader = learn.dls.test_dl(items, with_labels=True)
        for photos, labels in progress_bar(loader, leave=False, display=shows_progress()):
            photos = photos.contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), autocast(precision):
                found = body(photos).as_subclass(torch.Tensor).float()
            seen.append((found.mean((2, 3)) if found.ndim == 4 else found, labels))
        found, labels = (torch.cat(parts).cpu() for parts in zip(*seen, strict=True))
        made.append((found, labels.as_subclass(torch.Tensor)))
    return made


def head_learner(learn: Learner, made: list[tuple[torch.Tensor, torch.Tensor]]) -> Learner:
    """Make a Learner of the head alone, for as long as the body is frozen.

    What a frozen body makes of a photo never changes, so its `features` are computed once; an
    epoch then takes a moment, and the body is not even there to move. The head is the very one of
    `learn`.
    """
    parts = [TensorDataset(found[..., None, None], labels) for found, labels in made]
    dls = DataLoaders.from_dsets(*parts, bs=learn.dls.bs, device=learn.dls.device)
    return Learner(
        dls,
        learn.model[1],
        learn.loss_func,
        opt_func=learn.opt_func,
        wd=learn.wd,
        metrics=learn.metrics,
        path="runs",  # where `lr_find` keeps the weights meanwhile
    )


def top_5(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the proportion of labels among the five most probable, or all of fewer than five."""
    return top_k_accuracy(predictions, targets, k=min(5, predictions.shape[-1]))


def log_loss(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the cross-entropy of logits [n, C] divided by the temperature that minimises it.

    The model file has a temperature of its own, so the overconfidence of a network must not choose
    the epoch.
    """
    logits, labels = (each.as_subclass(torch.Tensor).cpu() for each in (predictions, targets))
    temperature = calibration.fit_temperature(logits.float().numpy(), labels.numpy())
    return float(functional.cross_entropy(logits.float() / temperature, labels))
