"""A fastai Learner on a timm body that is really frozen when it is said to be."""

import hashlib
import os
from pathlib import Path

import torch
from fastai.vision.all import (
    Callback,
    DataLoaders,
    LabelSmoothingCrossEntropy,
    Learner,
    accuracy,
    params,
    top_k_accuracy,
    vision_learner,
)
from timm.models import group_parameters
from torch import nn
from torch.utils.data import TensorDataset


class WeightsError(ValueError):
    """Pretrained weights that can't be had; the text says where to put them."""


class KeepStatistics(Callback):
    """Hold the body's batch norm at its pretrained running statistics, frozen or not.

    fastai lets a frozen body's batch norm learn on, and small batches of birds only spoil it.
    """

    order = 1  # after TrainEvalCallback, which puts the whole model in training mode

    def before_train(self):
        """Put the body's norm layers back in evaluation mode."""
        for module in self.model[0].modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def stages(model: nn.Sequential) -> list[list[nn.Parameter]]:
    """Split a model into timm's stages, the stem first and the head last."""
    body = model[0].model
    names = group_parameters(body, body.group_matcher(coarse=True))
    groups = [[body.get_parameter(name) for name in names[key]] for key in sorted(names)]
    return [*(group for group in groups if group), params(model[1])]


def rates(learn: Learner, rate: float, decay: float) -> list[float]:
    """Return a learning rate a stage: `rate` for the head, `decay` times less each stage below."""
    count = len(learn.splitter(learn.model))
    return [rate * decay**below for below in reversed(range(count))]


def head_learner(learn: Learner) -> Learner:
    """Make a Learner of the head alone, for as long as the body is frozen.

    What a frozen body makes of a photo never changes, so it is computed once, for each photo of
    both DataLoaders as prepared for validation; an epoch then takes a moment, and the body is not
    even there to move. The head is the very one of `learn`.
    """
    body = learn.model[0].eval()
    pool = nn.AdaptiveAvgPool2d(1)  # the head's own pooling leaves these as they are
    parts = []
    for items in (learn.dls.train.items, learn.dls.valid.items):
        loader = learn.dls.test_dl(items, with_labels=True)
        with torch.no_grad():
            made = [(pool(body(photos)).cpu(), labels.cpu()) for photos, labels in loader]
        features, labels = (torch.cat(tensors) for tensors in zip(*made, strict=True))
        parts.append(TensorDataset(features.as_subclass(torch.Tensor), labels))
    dls = DataLoaders.from_dsets(*parts, bs=learn.dls.bs, device=learn.dls.device)
    return Learner(dls, learn.model[1], learn.loss_func, metrics=learn.metrics)


def learner(
    dls: DataLoaders,
    arch: str,
    weights: str = "pretrained",
    label_smoothing: float = 0.1,
    dropout: float = 0.2,
) -> Learner:
    """Make a Learner with an affine head: average pool, batch norm, dropout, linear.

    `weights` is `pretrained` (timm fetches them), `random`, or a file that timm can load. A
    pretrained body is frozen and its batch norm held still; a random one has nothing to keep.
    Raises WeightsError where the weights can't be had.
    """
    file = weights_file(weights)
    extra = {"pretrained_cfg_overlay": {"file": str(file)}} if file else {}
    try:
        learn = vision_learner(
            dls,
            arch,
            pretrained=weights != "random",
            normalize=False,  # the DataLoaders do it, pretrained or not
            loss_func=LabelSmoothingCrossEntropy(label_smoothing),
            metrics=[accuracy, top_5],
            splitter=stages,
            lin_ftrs=[],
            concat_pool=False,
            ps=dropout,
            train_bn=False,
            cbs=KeepStatistics() if weights != "random" else None,
            **extra,
        )
    except OSError as error:
        raise WeightsError(
            f"The weights of {arch} can't be fetched. Connect to the network once, or set "
            "FIELDMARK_WEIGHTS to a file that holds them, or to 'random'."
        ) from error
    return learn


def wanted(weights: str) -> str:
    """Return a recipe's `weights`, or what FIELDMARK_WEIGHTS says in its place."""
    return os.environ.get("FIELDMARK_WEIGHTS") or weights


def weights_file(weights: str) -> Path | None:
    """Return the file that `weights` names, None for `pretrained` and `random`.

    Raises WeightsError where there is no such file.
    """
    if weights in ("pretrained", "random"):
        return None
    if not Path(weights).is_file():
        raise WeightsError(
            f"There is no weights file {weights}. Put it there, or set FIELDMARK_WEIGHTS to a "
            "file, to `pretrained` (fetched from the network) or to `random`."
        )
    return Path(weights)


def weights_facts(weights: str) -> dict:
    """Tell where training started: `pretrained`, `random`, or a file's name and SHA-256."""
    file = weights_file(weights)
    if not file:
        return {"start": weights, "sha256": None}
    return {"start": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def top_5(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of photos whose label is among the five best answers, or all if there are fewer."""
    return top_k_accuracy(predictions, targets, k=min(5, predictions.shape[-1]))
