"""Lose no epoch: what a run has learned is on the disk after each, and it goes on from there."""

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import Callback, CancelFitException

from fieldmark.data.ood_photos import KEYS as PROMISED
from fieldmark.training.callbacks import Resumed, WeightAverage
from fieldmark.training.snapshots import FOLDER as SNAPSHOTS


class Run:
    """A run's folder of checkpoints, and the stages that an interrupted run had begun in it.

    They count only for the same recipe, but for what the file is to promise, and the same split;
    otherwise, or when that run had finished, training starts anew. A stage is taken up once: to fit
    it again in the same notebook is to start it again.
    """

    def __init__(self, out: Path, recipe: dict, photos: pd.DataFrame):
        self.folder, self.snapshots = out / "checkpoints", out / SNAPSHOTS
        self.folder.mkdir(parents=True, exist_ok=True)
        self.begun = self.folder / "begun.json"
        taught = {key: value for key, value in recipe.items() if key not in PROMISED}
        facts = json.dumps(taught, sort_keys=True) + photos[["path", "label", "split"]].to_csv()
        identity = hashlib.sha256(facts.encode()).hexdigest()
        known = json.loads(self.begun.read_text()) if self.begun.is_file() else {}
        self.resumes = known == {"identity": identity, "finished": False}
        self.waiting = {file.stem for file in self.folder.glob("*.pt")} if self.resumes else set()
        self.earlier = sum(each["seconds"] for stage in self.waiting for each in self.epochs(stage))
        if not self.resumes:
            for file in (*self.folder.glob("*.pt"), *self.snapshots.glob("*.safetensors")):
                file.unlink()
        self.identity = identity
        self.mark(finished=False)

    def mark(self, finished: bool) -> None:
        """Note whose checkpoints these are, and whether the run got to its end."""
        self.begun.write_text(json.dumps({"identity": self.identity, "finished": finished}))

    def finish(self) -> None:
        """Say that the run got to its end, so that the next one starts anew."""
        self.mark(finished=True)

    def left(self, stage: str) -> dict | None:
        """Return what an interrupted run had reached in a stage, None if nothing."""
        if stage not in self.waiting:
            return None
        self.waiting.remove(stage)
        return torch.load(self.path(stage), map_location="cpu", weights_only=True)

    @property
    def reached(self) -> list[str]:
        """Say how far an interrupted run got in each stage that waits to be taken up."""
        return [f"{stage}, epoch {len(self.epochs(stage))}" for stage in sorted(self.waiting)]

    def epochs(self, stage: str) -> list[dict]:
        """Return the history of a stage; its weights stay on the disk, where `left` reads them."""
        return torch.load(self.path(stage), weights_only=True, mmap=True)["history"]

    def path(self, stage: str) -> Path:
        """Return the file of a stage's checkpoint."""
        return self.folder / f"{stage}.pt"


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
