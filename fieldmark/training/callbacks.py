"""What happens while a Learner fits, beyond fastai's own callbacks."""

import random

import torch
from fastai.vision.all import Callback, TrainEvalCallback, set_seed
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Resumed(Callback):
    """A callback with a state of its own, without which a run that was stopped can't go on.

    `left` is what an earlier run's `state` was, given before the fit; None where nothing was left.
    """

    left = None

    def state(self) -> dict | None:
        """Return the state after an epoch, in what torch loads without trusting the file."""
        raise NotImplementedError


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


class WeightAverage(Resumed):
    """Follow the weights by an exponential moving average, and judge and keep that.

    The average starts at the weights as they are; a step moves it by 1 - `decay` of the way.
    """

    order = 75  # before the checkpoint, after everything that counts

    def __init__(self, decay: float):
        self.decay = decay

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

    def state(self) -> dict:
        """Return the average."""
        return self.average.state_dict()


class Teacher(Resumed):
    """Learn from a teacher's answers as well as from the labels (Hinton et al. 2015).

    `teacher` gives logits of the labels [n, C] and of its own `classes` [n, K] for a batch as the
    Learner's own model gets it. `share` of the loss is the divergence from its answers, both
    softened by `temperature`; `own` weighs a further loss, how well a linear layer beside the head
    tells its answers in its own classes. That layer learns along and is not kept: it makes the body
    see what the teacher tells apart, beyond the species at hand.
    """

    run_valid = False

    def __init__(
        self, teacher: nn.Module, share: float, own: float = 0.0, temperature: float = 2.0
    ):
        self.teacher, self.share, self.own = teacher, share, own
        self.temperature = temperature

    def before_fit(self):
        """Put the teacher where the photos are, and the layer beside the head's last."""
        self.teacher.eval().to(self.dls.device)
        self.own = self.own if self.teacher.classes else 0.0
        if not self.own:
            return
        last = [layer for layer in self.model[1].modules() if isinstance(layer, nn.Linear)][-1]
        self.beside = nn.Linear(last.in_features, self.teacher.classes).to(self.dls.device)
        self.optimizer = torch.optim.AdamW(self.beside.parameters(), weight_decay=self.learn.wd)
        if self.left:
            self.beside.load_state_dict(self.left["beside"])
            self.optimizer.load_state_dict(self.left["optimizer"])

        def look(_, inputs: tuple[torch.Tensor]):  # no method, or a copy of the model copies us
            self.read = inputs[0]

        self.hook = last.register_forward_pre_hook(look)

    def after_loss(self):
        """Mix the divergence into the loss."""
        with torch.no_grad():
            wanted, own = self.teacher(self.x)
        loss = (1 - self.share) * self.loss_grad + self.share * self.apart(self.pred, wanted)
        if self.own:
            loss = loss + self.own * self.apart(self.beside(self.read), own)
        self.learn.loss_grad = loss
        self.learn.loss = loss.clone()

    def apart(self, given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return the divergence of one kind of logits from another."""
        given, wanted = (
            functional.log_softmax(each.float() / self.temperature, 1) for each in (given, wanted)
        )
        found = functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
        return found * self.temperature**2

    def after_step(self):
        """Let the layer beside the head learn at the head's rate.

        fastai also comes here where float16 overflowed and a step was left out; so is this one.
        """
        if self.own:
            self.optimizer.param_groups[0]["lr"] = float(self.opt.hypers[-1]["lr"])
            if all(p.grad.isfinite().all() for p in self.beside.parameters()):
                self.optimizer.step()
            self.optimizer.zero_grad()

    def after_fit(self):
        """Take the layer away."""
        if self.own:
            self.hook.remove()

    def state(self) -> dict | None:
        """Return what an interrupted run needs to go on: the layer beside the head."""
        if not self.own:
            return None
        return {"beside": self.beside.state_dict(), "optimizer": self.optimizer.state_dict()}
