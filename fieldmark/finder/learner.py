"""A fastai Learner around a Detector, and how it is fitted."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pandas as pd
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.schedule import ParamScheduler, combined_cos
from fastai.callback.tracker import TrackerCallback
from fastai.callback.training import GradientClip
from fastai.data.core import DataLoaders
from fastai.learner import Learner, Metric
from fastai.optimizer import Adam
from fastai.torch_core import set_seed

from fieldmark.data.parallel import shows_progress
from fieldmark.finder.boxes import FOUND, pairwise_iou, score_boxes, select_boxes
from fieldmark.finder.detector import STRIDE, Detector
from fieldmark.finder.loss import detection_loss
from fieldmark.network.precision import choose_precision

MAX_GRADIENT = 5.0  # norm
MEAN_IOU = "mean_iou"  # the metric that chooses the epoch
WARM_UP = 0.15  # share of the steps in which the learning rate rises


class MeanIoU(Metric):
    """Mean overlap of birds with the best of their boxes, 0 for a missed bird."""

    def reset(self):
        """Forget all birds."""
        self.overlaps: list[np.ndarray] = []

    def accumulate(self, learn: Learner):
        """Add the birds of a batch."""
        self.overlaps.append(batch_iou(learn.pred, learn.y))

    @property
    def name(self) -> str:
        """The name in the history."""
        return MEAN_IOU

    @property
    def value(self) -> float:
        """The mean over birds."""
        return float(self.score(np.concatenate([*self.overlaps, np.zeros(0)])).mean())

    def score(self, overlaps: np.ndarray) -> np.ndarray:
        """Return what the mean is of."""
        return overlaps


class FoundRate(MeanIoU):
    """Share of birds that a box overlaps by at least FOUND."""

    @property
    def name(self) -> str:
        """The name in the history."""
        return "found"

    def score(self, overlaps: np.ndarray) -> np.ndarray:
        """Return which birds are found."""
        return overlaps >= FOUND


class KeepBest(TrackerCallback):
    """Keep the weights of the epoch with the highest value of a metric."""

    def __init__(self, monitor: str = MEAN_IOU):
        super().__init__(monitor)
        self.weights, self.epoch_kept = {}, 0

    def after_epoch(self):
        """Copy the weights after the best epoch so far."""
        super().after_epoch()
        if self.new_best:
            self.weights, self.epoch_kept = copy_weights(self.model), self.epoch


def make_learner(
    detector: Detector, dls: DataLoaders, weight_decay: float = 0.01, precision: str = "auto"
) -> Learner:
    """Return a Learner with one group of parameters for the backbone and one for new layers.

    It trains in mixed precision on a GPU.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    callbacks = [GradientClip(MAX_GRADIENT)]
    if device == "cuda" and (chosen := choose_precision(precision, device)) != "float32":
        callbacks.append(MixedPrecision("bf16" if chosen == "bfloat16" else "fp16"))
    return Learner(
        dls,
        detector.to(device),
        detection_loss,
        opt_func=partial(Adam, sqr_mom=0.999, eps=1e-8),  # as torch's AdamW
        splitter=Detector.parameter_groups,
        metrics=[FoundRate(), MeanIoU()],
        wd=weight_decay,
        cbs=callbacks,
    )


def fit(
    learn: Learner, epochs: int, learning_rate: float, backbone_rate: float = 0.25, seed: int = 0
) -> pd.DataFrame:
    """Fit with one cycle of the learning rate; return a row of figures for each epoch.

    `backbone_rate` is the backbone's learning rate relative to that of new layers. The network
    then has the weights of the epoch with the highest mean overlap, which `kept` marks; those of
    the last epoch are the Learner's `last_weights`.
    """
    set_seed(seed)
    best = KeepBest()
    learn.create_opt()
    rates = np.array([backbone_rate, 1.0]) * learning_rate
    schedules = {
        "lr": combined_cos(WARM_UP, rates / 25, rates, rates / 1e5),
        "mom": combined_cos(WARM_UP, 0.95, 0.85, 0.95),
    }
    with nullcontext() if shows_progress() else learn.no_bar():
        learn.fit(epochs, cbs=[ParamScheduler(schedules), best])
    names = learn.recorder.metric_names[1:-1]  # without the epoch and the time
    history = pd.DataFrame(learn.recorder.values, columns=names)
    history["kept"] = history.index == best.epoch_kept
    learn.last_weights = copy_weights(learn.model)
    learn.model.load_state_dict(best.weights)
    learn.model.eval()
    return history.rename_axis("epoch").reset_index()


def copy_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a model's weights in memory."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def batch_iou(outputs: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    """Return the overlap of each bird of a batch with the best of its boxes.

    `outputs` [N, 5, h, w] are those of a Detector, `target` [N, 6, h, w] as of `make_target`.
    """
    score, box = (values.cpu() for values in score_boxes(outputs))
    size = outputs.shape[3] * STRIDE, outputs.shape[2] * STRIDE
    overlaps = []
    for photo_score, photo_box, wanted in zip(score, box, target.cpu(), strict=True):
        birds = wanted[1:5, wanted[0] >= 1].T.numpy()
        found, _ = select_boxes(photo_score, photo_box, size)
        overlaps.append(pairwise_iou(birds, found.numpy()).max(1, initial=0))
    return np.concatenate(overlaps)
