"""A fastai callback that logs a fit to all trackers."""

from typing import TYPE_CHECKING

from fastai.vision.all import Callback, Learner

if TYPE_CHECKING:
    from fieldmark.training.tracking.tracking import Tracking


class TrackingCallback(Callback):
    """Log losses, metrics, learning rates, weights and gradients."""

    order = 78  # before the checkpoint, so that trackers have every epoch that it has
    run_valid = False

    def __init__(self, tracking: "Tracking", learn: Learner):
        self.tracking = tracking
        self.names = {p: parameter_name(name) for name, p in learn.model.named_parameters()}

    def before_fit(self):
        """Continue where the checkpoint does."""
        checkpoint = self.learn.checkpoint
        self.tracking.resume(checkpoint.phase, len(checkpoint.learning_rates))
        count = len(self.opt.hypers)
        self.groups = [*(f"layer_group_{index}" for index in range(count - 1)), "head"]
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.trained = {self.names[p]: p for p in trained}

    def before_epoch(self):
        """Log the gradients of the next optimizer step."""
        self.logs_gradients = True

    def before_batch(self):
        """Count the step."""
        self.tracking.step += 1

    def before_step(self):
        """Log the gradients once per epoch; here they are unscaled and accumulated."""
        if self.logs_gradients:
            gradients = {f"weights.grad/{name}": p.grad for name, p in self.trained.items()}
            self.log("log_histograms", {k: g for k, g in gradients.items() if g is not None})
            self.logs_gradients = False

    def after_batch(self):
        """Log the smoothed loss and the learning rate of each layer group."""
        values = [float(group["lr"]) for group in self.opt.hypers]
        rates = {f"rate/{name}": value for name, value in zip(self.groups, values, strict=True)}
        self.log("log_scalars", {"loss/step": float(self.smooth_loss)} | rates)

    def after_epoch(self):
        """Log losses, metrics and weights."""
        names, values = self.recorder.metric_names[1:-1], map(float, self.recorder.values[-1])
        self.log("log_histograms", {f"weights/{name}": p for name, p in self.trained.items()})
        scalars = zip(map(curve_name, names), values, strict=True)
        self.log("log_scalars", dict(scalars))
        self.tracking.log("flush")

    def log(self, method: str, values: dict) -> None:
        """Log values of the current step."""
        self.tracking.log(method, self.tracking.step, values)


def curve_name(name: str) -> str:
    """Return kind and name of a value of fastai's Recorder: train_loss is loss/train."""
    return f"loss/{name.removesuffix('_loss')}" if name.endswith("_loss") else f"metrics/{name}"


def parameter_name(name: str) -> str:
    """Return a parameter's name that starts with the part of the network in words."""
    part, rest = name.split(".", 1)
    return f"{('backbone', 'head')[int(part)]}.{rest.removeprefix('model.')}"
