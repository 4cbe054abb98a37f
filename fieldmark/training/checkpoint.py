"""Write a checkpoint after each epoch, from which an interrupted fit resumes."""

import time

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import Callback, CancelFitException

from fieldmark.errors import TrainingError
from fieldmark.run import Run
from fieldmark.training.callbacks import StatefulCallback, WeightAverage
from fieldmark.training.distributed import ranks, unwrap

RATE_KEYS = {"frozen": "frozen_learning_rate"}  # of phases with a recipe key of their own


class Checkpoint(Callback):
    """Save a phase after each epoch, keep the epoch with the lowest log loss on `valid`.

    The log loss is at the best temperature, since the model file is calibrated anyway; accuracy
    would be too coarse on a few hundred photos. The fit stops after `patience` epochs without a
    better one; 0 never stops it. `state` is the checkpoint of an interrupted fit. Each epoch is
    also a row of the run's history.csv. A log loss that is not a number raises TrainingError. Of
    processes that train together all have the same state, and the first writes it.
    """

    order = 80  # after losses, metrics and averages of the epoch

    def __init__(self, run: Run, phase: str, patience: int = 0, state: dict | None = None):
        self.run_folder, self.phase, self.patience = run, phase, patience
        self.state = state or {
            "history": [],
            "learning_rates": [],
            "lowest_log_loss": None,
            "epochs_without_improvement": 0,
        }

    @property
    def epochs_done(self) -> int:
        """The number of epochs in the checkpoint."""
        return len(self.state["history"])

    @property
    def out_of_patience(self) -> bool:
        """Whether the fit stops, or has stopped, for lack of improvement."""
        return 0 < self.patience <= self.state["epochs_without_improvement"]

    @property
    def history(self) -> pd.DataFrame:
        """A row per epoch: phase, epoch, losses, metrics and seconds."""
        return pd.DataFrame(self.state["history"])

    @property
    def learning_rates(self) -> np.ndarray:
        """The learning rate of each layer group at each step, [steps, groups]."""
        return np.array(self.state["learning_rates"])

    def before_fit(self):
        """Continue the smoothed loss of an interrupted fit."""
        self.epochs_before = self.epochs_done
        if self.epochs_done:
            self.recorder.smooth_loss.count, value = self.state["smooth_loss"]
            self.recorder.smooth_loss.val = torch.tensor(value)

    def before_epoch(self):
        """Start the clock."""
        self.started, self.epoch_rates = time.monotonic(), []

    def after_batch(self):
        """Record the learning rates of a step; fastai's Recorder keeps the last group's only."""
        if self.training:
            self.epoch_rates.append([float(group["lr"]) for group in self.opt.hypers])

    def after_epoch(self):
        """Compare the epoch with the best one and write everything."""
        names = [name for name in self.recorder.metric_names if name not in ("epoch", "time")]
        row = {"phase": self.phase, "epoch": self.epochs_before + self.epoch + 1}
        row |= dict(zip(names, map(float, self.recorder.values[-1]), strict=True))
        row |= {"seconds": round(time.monotonic() - self.started, 1)}
        if not np.isfinite(row["log_loss"]):
            raise TrainingError(
                f"Training diverged: the loss on valid is not a number in epoch {row['epoch']} of "
                f"{self.phase}. Set a lower `{RATE_KEYS.get(self.phase, 'learning_rate')}`, or "
                "`precision: float32`."
            )
        stateful = [cb for cb in self.learn.cbs if isinstance(cb, StatefulCallback)]
        lowest = self.state["lowest_log_loss"]
        is_better = lowest is None or row["log_loss"] < lowest
        waited = 0 if is_better else self.state["epochs_without_improvement"] + 1
        self.state |= {
            "history": [*self.state["history"], row],
            "learning_rates": [*self.state["learning_rates"], *self.epoch_rates],
            "smooth_loss": (self.recorder.smooth_loss.count, float(self.recorder.smooth_loss.val)),
            "model": unwrap(self.model).state_dict(),
            "optimizer": plain_optimizer_state(self.opt.state_dict()),
            "callbacks": {cb.name: cb.state() for cb in stateful},
            "epochs_without_improvement": waited,
        }
        if is_better:
            averages = [cb.average.module for cb in stateful if isinstance(cb, WeightAverage)]
            weights = (averages or [unwrap(self.model)])[0].state_dict()
            best = {name: value.detach().clone() for name, value in weights.items()}
            self.state |= {"lowest_log_loss": row["log_loss"], "best_model": best}
        if not ranks().rank:
            self.run_folder.save_checkpoint(self.phase, row["epoch"], self.state)
            self.run_folder.record_epochs(self.phase, self.state["history"])
        if self.out_of_patience:
            raise CancelFitException


def plain_optimizer_state(state: dict) -> dict:
    """Return an optimizer's state in types that torch.load accepts with weights_only."""
    hypers = [{name: float(value) for name, value in group.items()} for group in state["hypers"]]
    return {"state": list(state["state"]), "hypers": hypers}
