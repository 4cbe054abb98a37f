"""Measure where the time of a training goes; the time of evaluation is not counted."""

import time

import torch
from fastai.vision.all import Callback, Pipeline


class Clock(Callback):
    """A stopwatch of a training, and of its batches by what they are spent on.

    `points` are pairs of seconds and accuracy, `parts` the seconds of each part, `epochs` the
    milliseconds per photo of each epoch, by operation.
    """

    order = -100

    def __init__(self):
        self.started, self.paused_seconds = time.perf_counter(), 0.0
        self.points, self.epochs, self.parts, self.spent = [], [], {}, {}

    def seconds(self) -> float:
        """Return the seconds since the start, without evaluation."""
        return time.perf_counter() - self.started - self.paused_seconds

    def end_part(self, name: str) -> None:
        """Record the seconds since the last part as those of this one."""
        self.parts[name] = self.seconds() - sum(self.parts.values())

    def evaluate(self, model: torch.nn.Module, loader) -> None:
        """Record the accuracy of a model, with the clock stopped."""
        paused, seconds, correct = time.perf_counter(), self.seconds(), []
        with torch.no_grad():
            for photos, labels in loader:
                correct.append((model.eval()(photos).argmax(1) == labels).cpu())
        self.points.append((seconds, torch.cat(correct).float().mean().item()))
        self.paused_seconds += time.perf_counter() - paused

    def count(self, operation: str) -> None:
        """Count the time since the last operation."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.spent[operation] = self.spent.get(operation, 0) + now - self.last
        self.last = now

    def before_train(self):
        """Start counting an epoch."""
        self.last, self.spent, self.photos = time.perf_counter(), {}, 0
        if not isinstance(self.dls.train.after_batch, TimedPipeline):
            self.dls.train.after_batch = TimedPipeline(self.dls.train.after_batch)
        self.dls.train.after_batch.seconds = 0

    def before_batch(self):
        """Count the loading of a batch."""
        if self.training:
            self.photos += len(self.x)
            self.count("data")

    def after_pred(self):
        """Count the forward pass."""
        if self.training:
            self.count("forward")

    def before_backward(self):
        """Count the loss, the teacher's predictions included."""
        self.count("loss")

    def before_step(self):
        """Count the backward pass."""
        self.count("backward")

    def after_step(self):
        """Count the optimizer step."""
        self.count("step")

    def after_train(self):
        """Record the milliseconds per photo of an epoch."""
        self.spent["augment"] = self.dls.train.after_batch.seconds
        self.spent["data"] -= self.spent["augment"]
        self.epochs.append({k: 1000 * seconds / self.photos for k, seconds in self.spent.items()})


class TimedPipeline(Pipeline):
    """Batch transforms that measure their own time."""

    seconds = 0.0

    def __call__(self, batch):
        """Transform a batch."""
        started = time.perf_counter()
        transformed = super().__call__(batch)
        self.seconds += time.perf_counter() - started
        return transformed


class EvaluateEpochs(Callback):
    """Evaluate after each epoch."""

    order = 100

    def __init__(self, clock: Clock, loader):
        self.clock, self.loader = clock, loader

    def after_epoch(self):
        """Record the accuracy of the current weights."""
        self.clock.evaluate(self.model, self.loader)
