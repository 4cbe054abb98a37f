"""Fit a Learner by a schedule, from where an earlier run of the same recipe was interrupted."""

from functools import partial

import numpy as np
import torch
from fastai.vision.all import (
    SGD,
    Adam,
    Callback,
    CutMix,
    GradientAccumulation,
    Learner,
    MixUp,
    ParamScheduler,
    SchedCos,
    combine_scheds,
    combined_cos,
    to_device,
)

from fieldmark.errors import TrainingError as FitError
from fieldmark.run import Run
from fieldmark.training.callbacks import ProgressiveResizing, Resumed, SeedEpochs, WeightAverage
from fieldmark.training.checkpoint import Checkpoint
from fieldmark.training.snapshots import Snapshots

OPTIMIZERS = {
    "adamw": partial(Adam, sqr_mom=0.999, eps=1e-8),  # torch's; fastai's remember less
    "sgd": partial(SGD, mom=0.9, decouple_wd=False),
}
SCHEDULES = ("one_cycle", "warm_restarts", "flat_cosine")


def fit(
    learn: Learner,
    run: Run,
    stage: str,
    epochs: int,
    rates: float | list[float],
    *,
    schedule: str = "one_cycle",
    restarts: int = 3,
    patience: int = 0,
    seed: int = 0,
    average: float = 0.0,
    resize_from: float = 1.0,
    cbs: list[Callback] | None = None,
) -> Checkpoint:
    """Fit all `epochs` of a stage but those that `run` still has, and take the best one's weights.

    `rates` is one learning rate or one a stage of the network; `average` is the decay of a moving
    average of the weights, 0 for none; `resize_from` is the share of the full size at which photos
    start. Returns the Checkpoint, which has the history. Raises FitError where memory runs out.
    """
    left = run.take_checkpoint(stage)
    checkpoint = Checkpoint(run.checkpoint_file(stage), patience, left)
    if learn.opt is None:
        learn.create_opt()
    if left:
        learn.model.load_state_dict(left["model"])
        learn.opt.load_state_dict(to_device(left["opt"], learn.dls.device))
    done = checkpoint.done
    if done < epochs and not checkpoint.stuck:
        learn.opt.set_hyper("lr", rates)
        plan = planned(
            schedule, np.array([each["lr"] for each in learn.opt.hypers]), restarts, learn.moms
        )
        every = [
            ParamScheduler({name: rest(values, done / epochs) for name, values in plan.items()}),
            SeedEpochs(seed, done),
            checkpoint,
            *(cbs or []),
        ]
        if average:
            every.append(WeightAverage(average))
        for each in every:
            if left and isinstance(each, Resumed):
                each.left = left["beside"][each.name]
        if schedule == "warm_restarts":
            every.append(Snapshots(run.snapshots, falls(restarts), done, epochs))
        if resize_from < 1:
            every.append(ProgressiveResizing(resize_from, done, epochs))
        try:
            learn.fit(epochs - done, cbs=every)
        except RuntimeError as error:  # CUDA's own kind is one, and a CPU knows no other
            if out_of_memory(error):
                raise FitError(smaller_batch(learn.dls.bs)) from error
            raise
    if checkpoint.done:
        learn.model.load_state_dict(checkpoint.state["best_model"])
    return checkpoint


def planned(schedule: str, rates: np.ndarray, restarts: int, momenta: tuple) -> dict:
    """Return functions from the share of the fit that is done to learning rates and momentum.

    `one_cycle` rises to the rates and falls to nothing (Smith 2018), `flat_cosine` stays and then
    falls, `warm_restarts` falls `restarts` times, each time twice as slowly (Loshchilov 2017).
    """
    if schedule == "one_cycle":
        rate = combined_cos(0.2, rates / 25, rates, rates / 1e5)
        return {"lr": rate, "mom": combined_cos(0.2, *momenta)}
    if schedule == "flat_cosine":
        return {"lr": combined_cos(0.75, rates, rates, rates / 1e5)}
    each = np.diff(falls(restarts), prepend=0)
    return {"lr": combine_scheds(list(each), [SchedCos(rates, 0 * rates) for _ in each])}


def falls(restarts: int) -> np.ndarray:
    """Return at which shares of the fit warm restarts have come down, [restarts]."""
    parts = 2.0 ** np.arange(restarts)
    return parts.cumsum() / parts.sum()


def rest(schedule, done: float):
    """Return what is left of a schedule when a share of it is `done`."""
    return lambda share: schedule(min(done + share * (1 - done), 1.0))


def mixing(mixup: float, cutmix: float) -> list[Callback]:
    """Return the callback that mixes photos and their labels, by the alpha of its Beta law."""
    made = ((MixUp, mixup), (CutMix, cutmix))
    return [callback(float(alpha)) for callback, alpha in made if alpha]


def accumulation(batches: int, batch_size: int) -> list[Callback]:
    """Return the callback that steps once in so many batches."""
    return [GradientAccumulation(batches * batch_size)] if batches > 1 else []


def out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out, on a GPU or on a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def smaller_batch(batch_size: int) -> str:
    """Say which batch size to try when memory ran out."""
    smaller = max(1, batch_size // 2)
    return (
        f"Memory ran out with a batch of {batch_size} photos. Set `batch_size: {smaller}` and "
        f"`accumulation_steps: {max(2, batch_size // smaller)}`, which steps as often; "
        "or a smaller `size`."
    )
