"""Lose no epoch: what a run has learned is on the disk after each, and it goes on from there."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import Callback, CancelFitException

from fieldmark.training.callbacks import Resumed, WeightAverage


class Checkpoint(Callback):
    """Write the state after each epoch, keep the best by its log loss on `valid`, stop when stuck.

    Not by accuracy, since of a hundred photos one more or less right by chance is a point. And not
    by the loss that taught, which punishes a network for being sure: a temperature mends that.
    `patience` is the number of epochs without a better one after which the fit stops; 0 for never.
    """

    order = 80  # when losses, metrics and averages of the epoch are known

    def __init__(self, file: Path, patience: int = 0, state: dict | None = None):
        self.file, self.patience = file, patience
        self.state = state or {"epoch": 0, "history": [], "rates": [], "best": None, "since": 0}

    @property
    def done(self) -> int:
        """Number of epochs that the checkpoint holds."""
        return self.state["epoch"]

    @property
    def stuck(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.patience <= self.state["since"]

    @property
    def history(self) -> pd.DataFrame:
        """Stage, losses, metrics and seconds of each epoch."""
        return pd.DataFrame(self.state["history"])

    @property
    def rates(self) -> np.ndarray:
        """The learning rate of every parameter group at every step, [steps, groups]."""
        return np.array(self.state["rates"])

    def before_fit(self):
        """Note how many epochs an earlier run had done, and go on with its smoothed loss."""
        self.earlier = self.done
        if self.done:
            self.recorder.smooth_loss.count, value = self.state["smooth"]
            self.recorder.smooth_loss.val = torch.tensor(value)

    def before_epoch(self):
        """Start the clock."""
        self.began, self.used = time.monotonic(), []

    def after_batch(self):
        """Note the rates of a step; fastai's Recorder only keeps the last group's."""
        if self.training:
            self.used.append([float(group["lr"]) for group in self.opt.hypers])

    def after_epoch(self):
        """Judge the epoch and write everything down at once."""
        names = [name for name in self.recorder.metric_names if name not in ("epoch", "time")]
        row = dict(zip(names, map(float, self.recorder.values[-1]), strict=True))
        row |= {"seconds": round(time.monotonic() - self.began, 1)}
        beside = [each for each in self.learn.cbs if isinstance(each, Resumed)]
        averages = [each.average.module for each in beside if isinstance(each, WeightAverage)]
        kept = (averages or [self.model])[0].state_dict()
        better = self.state["best"] is None or row["log_loss"] < self.state["best"]
        place = {"stage": self.file.stem, "epoch": self.earlier + self.epoch + 1}
        self.state |= {
            "epoch": place["epoch"],
            "history": [*self.state["history"], place | row],
            "rates": [*self.state["rates"], *self.used],
            "smooth": (self.recorder.smooth_loss.count, float(self.recorder.smooth_loss.val)),
            "model": self.model.state_dict(),
            "opt": plain(self.opt.state_dict()),
            "beside": {each.name: each.state() for each in beside},
            "since": 0 if better else self.state["since"] + 1,
        }
        if better:
            kept = {name: value.detach().clone() for name, value in kept.items()}
            self.state |= {"best": row["log_loss"], "best_model": kept}
        scratch = self.file.with_suffix(".writing")
        torch.save(self.state, scratch)
        scratch.replace(self.file)
        if self.stuck:
            raise CancelFitException


def plain(state: dict) -> dict:
    """Return an optimizer's state in types that torch loads without trusting the file."""
    hypers = [{name: float(value) for name, value in each.items()} for each in state["hypers"]]
    return {"state": list(state["state"]), "hypers": hypers}
