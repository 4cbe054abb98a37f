"""Follow a run while it goes: trackers are told of steps, epochs, figures and what it leaves."""

from datetime import datetime
from importlib import import_module
from pathlib import Path

from fastai.vision.all import Callback, Learner
from matplotlib.figure import Figure

from fieldmark.run import Run
from fieldmark.training.tracking.trackers import Table

OWN = ("log.csv", "clearml.txt", "tensorboard/events.*")  # what trackers keep in a run's folder


class Tracking:
    """All trackers of a run, none of them open before `start`; figures kept earlier wait for that.

    `track` names them, `out` is the run's folder.
    """

    def __init__(self, track: list[str], out: Path, recipe: dict):
        self.track, self.out, self.recipe = list(dict.fromkeys(track)), Path(out), recipe
        self.trackers, self.waiting, self.fits, self.step = [], [], {}, 0
        self.behind = False

    def start(self, run: Run, fits: dict) -> None:
        """Open the trackers; unless `run` goes on from an earlier one, forget what that told.

        Trackers of one that goes on know the figures made so far. `fits` is to hold the Checkpoint
        of each stage that has been fitted.
        """
        if not run.resumes:
            for place in OWN:
                for file in self.out.glob(place):
                    file.unlink()
        self.trackers = [opened(name)(self.out, self.recipe) for name in self.track]
        self.fits, waiting, self.waiting = fits, self.waiting, []
        self.behind = run.resumes  # what trackers know may be of steps that are yet to come
        for file in [] if run.resumes else waiting:
            self.tell("figure", self.step, file)

    def tell(self, what: str, step: int, *told) -> None:
        """Tell every tracker something of a step."""
        for tracker in self.trackers:
            getattr(tracker, what)(step, *told)

    def begin(self, stage: str = "", steps: int = 0) -> None:
        """Go on after so many steps of a stage, and all of the others'."""
        others = [len(fit.rates) for name, fit in self.fits.items() if name != stage]
        self.step, self.behind = sum(others) + steps, False
        self.tell("begin", self.step)

    def callbacks(self, learn: Learner) -> list[Callback]:
        """Return what follows a fit of this Learner, or of its head alone."""
        return [Follow(self, learn)] if self.track else []

    def figure(self, name: str, figure: Figure) -> Figure:
        """Tell of a figure that the run keeps by this name, and return it.

        What follows the last step is told as of the next, so that a run which is stopped there and
        goes on makes trackers forget it, and nothing of that step.
        """
        file = self.out / "figures" / f"{name}.png"
        if self.behind:  # no stage had anything left to fit
            self.begin()
        if self.trackers:
            self.step = sum(len(fit.rates) for fit in self.fits.values())
            self.tell("figure", self.step + 1, file)
        else:
            self.waiting.append(file)
        return figure

    def end(self, metrics: dict) -> None:
        """Tell what was measured and what the run leaves, and let the trackers go."""
        measured = {name: each["value"] for name, each in metrics.items()}
        run = Run(self.out)
        files = [run.model_file, run.recipe_file, run.split_file, *run.result_files]
        self.tell("end", self.step, measured, [file for file in files if file.is_file()])
        self.trackers = []


def opened(name: str) -> type:
    """Return the class of a tracker; the packages of others need not be there."""
    if name == "csv":
        return Table
    if name == "tensorboard":
        return import_module(".tensorboard", __package__).TensorBoard
    return import_module(".clearml", __package__).ClearML


class Follow(Callback):
    """Tell the trackers of losses, metrics and rates, of weights and of gradients."""

    order = 78  # before the checkpoint, so that trackers know of every epoch that it has
    run_valid = False

    def __init__(self, tracking: Tracking, learn: Learner):
        self.tracking = tracking
        self.known = {p: spelled(name) for name, p in learn.model.named_parameters()}

    def before_fit(self):
        """Go on where the checkpoint does."""
        checkpoint = self.learn.checkpoint
        self.stage, self.earlier = checkpoint.file.stem, checkpoint.done
        self.tracking.begin(self.stage, len(checkpoint.rates))
        count = len(self.opt.hypers)
        self.groups = [*(f"stage_{place}" for place in range(count - 1)), "head"]
        self.taught = {self.known[p]: p for p in self.model.parameters() if p.requires_grad}

    def before_epoch(self):
        """Look at the gradients of the next step."""
        self.look = True

    def before_batch(self):
        """Count."""
        self.tracking.step += 1

    def before_step(self):
        """Tell the gradients, once an epoch; here they are unscaled, gathered, and not skipped."""
        if self.look:
            gradients = {f"weights.grad/{name}": p.grad for name, p in self.taught.items()}
            self.told("histograms", {n: g for n, g in gradients.items() if g is not None})
            self.look = False

    def after_batch(self):
        """Tell the smoothed loss, and the rate of each group."""
        rates = [float(group["lr"]) for group in self.opt.hypers]
        told = {f"rate/{name}": rate for name, rate in zip(self.groups, rates, strict=True)}
        self.told("scalars", {"loss/step": float(self.smooth_loss)} | told)

    def after_epoch(self):
        """Tell losses and metrics, and the weights."""
        names, values = self.recorder.metric_names[1:-1], map(float, self.recorder.values[-1])
        judged = dict(zip(names, values, strict=True))
        row = {"stage": self.stage, "epoch": self.earlier + self.epoch + 1}
        row |= {"step": self.tracking.step, "time": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        row |= judged | {"rate": float(self.opt.hypers[-1]["lr"])}
        weights = {f"weights/{name}": p for name, p in self.taught.items()}
        self.told("histograms", weights)
        self.told("scalars", {charted(name): value for name, value in judged.items()})
        self.told("epoch", row)

    def told(self, what: str, told: dict) -> None:
        """Tell something of this step."""
        self.tracking.tell(what, self.tracking.step, told)


def charted(name: str) -> str:
    """Return the kind and name of a number of fastai's Recorder: train_loss is loss/train."""
    return f"loss/{name.removesuffix('_loss')}" if name.endswith("_loss") else f"metrics/{name}"


def spelled(name: str) -> str:
    """Return a parameter's name with its part of the network in words."""
    part, rest = name.split(".", 1)
    return f"{('body', 'head')[int(part)]}.{rest.removeprefix('model.')}"
