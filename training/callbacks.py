"""What happens while a Learner fits, beyond fastai's own callbacks."""

import random

import torch
from fastai.vision.all import Callback, TrainEvalCallback, set_seed
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class KeepStatistics(Callback):
    """Hold the body's batch norm at its pretrained running statistics, frozen or not.

    fastai lets a frozen body's batch norm learn on, and small batches of birds only spoil it.
    """

    run_after = TrainEvalCallback  # which puts the whole model in training mode

    def before_train(self):
        """Put the body's norm layers back in evaluation mode."""
        for module in self.model[0].modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


class SeedEpochs(Callback):
    """Seed each epoch by its number, so that one which is run again after a stop is the same."""

    order = -20

    def __init__(self, seed: int, done: int = 0):
        self.seed, self.done = seed, done

    def before_epoch(self):
        """Seed Python, numpy, torch and the order of the photos."""
        seed = self.seed * 1000 + self.done + self.epoch
        set_seed(seed)
        self.dls.train.rng = random.Random(seed)  # noqa: S311  no secret


class ProgressiveResizing(Callback):
    """Start on small photos and grow them to their full size over the first half of the epochs.

    `start` is the share of the full size to start from; sizes are multiples of 32 pixels, the
    stride of most networks (Howard 2018, DAWNBench).
    """

    run_valid = False

    def __init__(self, start: float, done: int = 0, epochs: int = 1):
        self.start, self.done, self.epochs = start, done, epochs

    def before_batch(self):
        """Shrink the batch to the size of this epoch."""
        full = self.x.shape[-1]
        size = self.size(self.done + self.epoch, full)
        if size < full:
            self.learn.xb = (
                functional.interpolate(self.x, size=(size, size), mode="bilinear", antialias=True),
            )

    def size(self, epoch: int, full: int) -> int:
        """Return the side in pixels of the photos of an epoch."""
        share = min(1.0, self.start + (1 - self.start) * 2 * epoch / self.epochs)
        return full if share >= 1 else min(full, max(32, round(full * share / 32) * 32))


class WeightAverage(Callback):
    """Follow the weights by an exponential moving average, and judge and keep that.

    The average starts at the weights as they are; a step moves it by 1 - `decay` of the way.
    """

    order = 75  # before the checkpoint, after everything that counts

    def __init__(self, decay: float, left: dict | None = None):
        self.decay, self.left = decay, left

    def before_fit(self):
        """Start at the weights as they are, or at the average that an interrupted run left."""
        self.average = AveragedModel(
            self.model, multi_avg_fn=get_ema_multi_avg_fn(self.decay), use_buffers=True
        )
        self.average.update_parameters(self.model)  # the first update copies
        if self.left:
            self.average.load_state_dict(self.left)

    def after_step(self):
        """Move the average."""
        self.average.update_parameters(self.model)

    def before_validate(self):
        """Put the average in the model's place."""
        self.trained = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.module.state_dict())

    def after_validate(self):
        """Go on from where training was."""
        self.model.load_state_dict(self.trained)

    after_cancel_validate = after_validate


class Teacher(Callback):
    """Learn from a teacher's answers as well as from the labels (Hinton et al. 2015).

    `teacher` gives logits [n, C] for a batch as the Learner's own model gets it; `share` of the
    loss is the divergence from its answers, both softened by `temperature`.
    """

    run_valid = False

    def __init__(self, teacher: nn.Module, share: float, temperature: float = 2.0):
        self.teacher, self.share, self.temperature = teacher, share, temperature

    def before_fit(self):
        """Put the teacher where the photos are."""
        self.teacher.eval().to(self.dls.device)

    def after_loss(self):
        """Mix the divergence into the loss."""
        with torch.no_grad():
            wanted = functional.log_softmax(self.teacher(self.x) / self.temperature, 1)
        given = functional.log_softmax(self.pred / self.temperature, 1)
        apart = functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
        apart = apart * self.temperature**2
        self.learn.loss_grad = (1 - self.share) * self.loss_grad + self.share * apart
        self.learn.loss = self.learn.loss_grad.clone()
