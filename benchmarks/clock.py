"""Measure where the time of a training goes; the time of evaluation is not counted."""

import time
from typing import Any

import torch
from fastai.vision.all import Callback, Pipeline

OPERATIONS = {  # by the event that ends each
    "before_batch": "data",
    "after_pred": "forward",
    "before_backward": "loss",
    "before_step": "backward",
    "after_step": "step",
}


class Clock(Callback):
    """A stopwatch of a training, and of its batches by what they are spent on.

    `points` are pairs of seconds and accuracy on the photos of the loader `test`, one after each
    epoch, `parts` the seconds of each part, `epochs` the milliseconds per photo of each epoch, by
    operation.
    """

    order = -100

    def __init__(self):
        self.started, self.paused_seconds = time.perf_counter(), 0.0
        self.test: Any = ()
        self.points, self.epochs, self.parts = [], [], {}

    def seconds(self) -> float:
        """Return the seconds since the start, without evaluation."""
        return time.perf_counter() - self.started - self.paused_seconds

    def end_part(self, name: str) -> None:
        """Record the seconds since the last part as those of this one."""
        self.parts[name] = self.seconds() - sum(self.parts.values())

    def evaluate(self, model) -> None:
        """Record the accuracy of a model, with the clock stopped."""
        paused, seconds, correct = time.perf_counter(), self.seconds(), []
        with torch.no_grad():
            for photos, labels in self.test:
                correct.append((model.eval()(photos).argmax(1) == labels).cpu())
        self.points.append((seconds, torch.cat(correct).float().mean().item()))
        self.paused_seconds += time.perf_counter() - paused

    def __call__(self, event_name: str):
        """Count the time since the last event of a training batch."""
        if event_name in OPERATIONS and self.training:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            now, operation = time.perf_counter(), OPERATIONS[event_name]
            self.spent[operation] = self.spent.get(operation, 0) + now - self.last
            self.photos += len(self.x) if operation == "data" else 0
            self.last = now
        return super().__call__(event_name)

    def before_train(self):
        """Start counting an epoch."""
        self.last, self.spent, self.photos = time.perf_counter(), {}, 0
        if not isinstance(self.dls.train.after_batch, TimedPipeline):
            self.dls.train.after_batch = TimedPipeline(self.dls.train.after_batch)
        self.dls.train.after_batch.seconds = 0

    def after_train(self):
        """Record the milliseconds per photo of an epoch."""
        self.spent["augment"] = self.dls.train.after_batch.seconds
        self.spent["data"] -= self.spent["augment"]
        self.epochs.append({k: 1000 * seconds / self.photos for k, seconds in self.spent.items()})

    def after_epoch(self):
        """Record the accuracy of the current weights."""
        self.evaluate(self.model)


class TimedPipeline(Pipeline):
    """Batch transforms that measure their own time."""

    seconds = 0.0

    def __call__(self, batch):
        """Transform a batch."""
        started = time.perf_counter()
        transformed = super().__call__(batch)
        self.seconds += time.perf_counter() - started
        return transformed
