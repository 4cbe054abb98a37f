"""fastai callbacks that fastai does not have."""

import random

from fastai.vision.all import Callback, TrainEvalCallback, set_seed
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fieldmark.training.distributed import ranks, unwrap

PROCESS_SEEDS = 1_000_003  # seeds of one process before those of the next


class StatefulCallback(Callback):
    """A callback whose state belongs to the checkpoint.

    `saved_state` is the state from the checkpoint of an interrupted fit, None for a new fit.
    """

    saved_state: dict | None = None

    def state(self) -> dict | None:
        """Return the state after an epoch, in types that torch.load accepts with weights_only."""
        raise NotImplementedError


class FreezeBatchNorm(Callback):
    """Keep the running statistics of the backbone's batch norms, frozen or not.

    fastai updates them even in a frozen backbone, and small batches estimate them badly.
    """

    run_after = TrainEvalCallback  # which puts the whole model in training mode

    def before_train(self):
        """Put the backbone's batch norms in evaluation mode."""
        for module in unwrap(self.model)[0].modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


class SeedEpochs(Callback):
    """Seed every epoch by its number, so that a resumed fit equals an uninterrupted one."""

    order = -20

    def __init__(self, seed: int, epochs_done: int = 0):
        self.seed, self.epochs_done = seed, epochs_done

    def before_epoch(self):
        """Seed Python, numpy, torch and the order of the photos.

        Processes that train together have the same order of photos, and draw other augmentation.
        """
        seed = self.seed * 1000 + self.epochs_done + self.epoch
        set_seed(seed + ranks().rank * PROCESS_SEEDS)
        self.dls.train.rng = random.Random(seed)  # noqa: S311  not for cryptography


class ProgressiveResizing(Callback):
    """Train on small photos first, and grow them to full size in the first half of the epochs.

    `start_fraction` is the first side as a fraction of the full one. Sides are multiples of 32
    pixels, the stride of most networks (Howard 2018, DAWNBench).
    """

    run_valid = False

    def __init__(self, start_fraction: float, epochs_done: int = 0, epochs: int = 1):
        self.start_fraction, self.epochs_done, self.epochs = start_fraction, epochs_done, epochs

    def before_batch(self):
        """Shrink the batch to the size of this epoch."""
        full_size = self.x.shape[-1]
        size = self.size(self.epochs_done + self.epoch, full_size)
        if size < full_size:
            options = {"size": (size, size), "mode": "bilinear", "antialias": True}
            self.learn.xb = (functional.interpolate(self.x, **options),)

    def size(self, epoch: int, full_size: int) -> int:
        """Return the side in pixels of the photos of an epoch."""
        grown = (1 - self.start_fraction) * 2 * epoch / self.epochs
        fraction = min(1.0, self.start_fraction + grown)
        size = max(32, round(full_size * fraction / 32) * 32)
        return full_size if fraction >= 1 else min(full_size, size)


class WeightAverage(StatefulCallback):
    """Keep an exponential moving average of the weights; validate and keep the average.

    It starts at the weights before the fit; each step moves it by 1 - `decay` of the distance.
    """

    order = 75  # before the checkpoint

    def __init__(self, decay: float):
        self.decay = decay

    def before_fit(self):
        """Start at the current weights, or at the average of an interrupted fit."""
        update = get_ema_multi_avg_fn(self.decay)
        self.average = AveragedModel(unwrap(self.model), multi_avg_fn=update, use_buffers=True)
        self.average.update_parameters(unwrap(self.model))  # the first update copies
        if self.saved_state:
            self.average.load_state_dict(self.saved_state)

    def after_step(self):
        """Update the average."""
        self.average.update_parameters(unwrap(self.model))

    def before_validate(self):
        """Swap the average in."""
        model = unwrap(self.model)
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.average.module.state_dict())

    def after_validate(self):
        """Swap the trained weights back in."""
        unwrap(self.model).load_state_dict(self.weights)

    after_cancel_validate = after_validate

    def state(self) -> dict:
        """Return the average."""
        return self.average.state_dict()
