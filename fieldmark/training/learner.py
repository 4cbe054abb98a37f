"""A fastai Learner on a timm body that is really frozen when it is said to be."""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import (
    AccumMetric,
    DataLoaders,
    LabelSmoothingCrossEntropy,
    Learner,
    accuracy,
    add_head,
    params,
    progress_bar,
    top_k_accuracy,
)
from timm.models import group_parameters
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from fieldmark.data.loaders import Frame
from fieldmark.data.parallel import watched
from fieldmark.evaluation import calibration
from fieldmark.network import weights as earlier
from fieldmark.network.backbone import Body, BodyError, sized
from fieldmark.network.weights import WeightsError
from fieldmark.run import read_weights_card
from fieldmark.training import memory
from fieldmark.training.callbacks import KeepStatistics
from fieldmark.training.fit import OPTIMIZERS
from fieldmark.training.mixed_precision import autocast

RUN = ("name", "version", "weights", "teacher")  # what is told of a run that was the start


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
        for photos, labels in progress_bar(loader, leave=False, display=watched()):
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


def learner(
    dls: DataLoaders,
    arch: str,
    weights: str = "pretrained",
    label_smoothing: float = 0.1,
    dropout: float = 0.2,
    optimizer: str = "adamw",
    weight_decay: float = 0.01,
    batch_norm: str = "auto",
    **options,
) -> Learner:
    """Make a Learner of a timm body and an affine head: average pool, batch norm, dropout, linear.

    As fastai's `vision_learner` does, but for any body that timm knows. `weights` is `pretrained`
    (timm fetches them), `random`, a file that timm can load, or one that an earlier run left, which
    must not have learned from photos that judge here: `earlier.check_apart` tells. A pretrained
    body is frozen.
    `batch_norm` tells whether the body's running statistics are kept `still` or `learn`; `auto`
    keeps pretrained ones, for random ones are nothing to keep. `options` go to timm.
    Raises WeightsError where the weights can't be had, BodyError where the photos have a size that
    the body can't take, or options that timm doesn't know.
    """
    memory.keep()
    still = weights != "random" if batch_norm == "auto" else batch_norm == "still"
    size = next(t.size for t in dls.valid.after_item.fs if isinstance(t, Frame))
    make = partial(timm.create_model, arch, **sized(arch, size, **options))
    try:
        body = Body(pretrained(make, arch, weights), size)
    except TypeError as error:
        if not options:
            raise
        raise BodyError(f"timm makes no {arch} with these `arch_options`: {error}.") from error
    learn = Learner(
        dls,
        add_head(body, body.width, dls.c, lin_ftrs=[], concat_pool=False, ps=dropout),
        LabelSmoothingCrossEntropy(label_smoothing),
        metrics=[accuracy, top_5, AccumMetric(log_loss, flatten=False)],
        splitter=stages,
        train_bn=not still,
        cbs=[ChannelsLast(), *([KeepStatistics()] if still else [])],
        opt_func=OPTIMIZERS[optimizer],
        wd=weight_decay,
    )
    # fastai's own moves it when it is first fitted, and its features are asked for before
    learn.model.to(dls.device, memory_format=torch.channels_last)
    if weights != "random":
        learn.freeze()
    return learn


def pretrained(
    make: Callable, arch: str, weights: str, setting: str = "FIELDMARK_WEIGHTS", classes: int = 0
):
    """Call `make` so that timm takes the weights from a file, from the network, or at random.

    With `classes`, as many as the weights know, the network keeps the classifier that it came with.
    Raises WeightsError, which names the `setting` to change, where the weights can't be had.
    """
    file = weights_file(weights, setting)
    if file and not classes and read_weights_card(file):
        return earlier.body(make(num_classes=0), arch, file)
    overlay = {"file": str(file)} if file else {}
    overlay |= {"num_classes": classes} if classes else {}
    extra = {"pretrained_cfg_overlay": overlay} if overlay else {}
    try:
        return make(pretrained=weights != "random", num_classes=classes, **extra)
    except OSError as error:
        raise WeightsError(
            f"The weights of {arch} can't be fetched. Connect to the network once, or set "
            f"{setting} to a file that holds them, or to 'random'."
        ) from error
    except RuntimeError as error:  # torch's, which lists every tensor
        if not file:
            raise
        known = f" with {classes} classes" if classes else ""
        raise WeightsError(f"{file} doesn't hold the weights of {arch}{known}.") from error


def wanted(weights: str, setting: str = "FIELDMARK_WEIGHTS") -> str:
    """Return a recipe's `weights`, or what the setting says in their place."""
    return os.environ.get(setting) or weights


def weights_file(weights: str, setting: str = "FIELDMARK_WEIGHTS") -> Path | None:
    """Return the file that `weights` names, None for `pretrained` and `random`.

    Raises WeightsError where there is no such file.
    """
    if weights in ("pretrained", "random"):
        return None
    if not Path(weights).is_file():
        raise WeightsError(
            f"There is no weights file {weights}. Put it there, or set {setting} to a "
            "file, to `pretrained` (fetched from the network) or to `random`."
        )
    return Path(weights)


def weights_facts(weights: str) -> dict:
    """Tell where training started: `pretrained`, `random`, or a file's name and SHA-256.

    For weights that a run left, also tell that model's name and version, and where it started.
    """
    file = weights_file(weights)
    if not file:
        return {"start": weights, "sha256": None}
    facts = {"start": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    if card := read_weights_card(file):
        facts["run"] = {key: card[key] for key in RUN if key in card}
    return facts


def top_5(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of photos whose label is among the five best answers, or all if there are fewer."""
    return top_k_accuracy(predictions, targets, k=min(5, predictions.shape[-1]))


def log_loss(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the cross-entropy of logits [n, C], divided by the temperature that suits them best.

    The model file is given one, so how sure a network is of itself says nothing of how good it is.
    """
    logits, labels = (each.as_subclass(torch.Tensor).cpu() for each in (predictions, targets))
    warmth = calibration.temperature(logits.float().numpy(), labels.numpy())
    return float(functional.cross_entropy(logits.float() / warmth, labels))
