"""Fit one phase of a run, resuming where an earlier run of the same recipe was interrupted."""

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
    to_device,
)

from fieldmark.errors import TrainingError
from fieldmark.run import Run
from fieldmark.training.averaging import average_states, copy_state
from fieldmark.training.callbacks import (
    ProgressiveResizing,
    SeedEpochs,
    StatefulCallback,
    WeightAverage,
)
from fieldmark.training.checkpoint import Checkpoint
from fieldmark.training.distributed import (
    check_agreement,
    distributed_fit,
    ranks,
    share,
    share_weights,
)
from fieldmark.training.schedules import create_schedule, restart_ends
from fieldmark.training.snapshots import Snapshots

OPTIMIZERS = {
    "adamw": partial(Adam, sqr_mom=0.999, eps=1e-8),  # as in torch; fastai's defaults differ
    "sgd": partial(SGD, mom=0.9, decouple_wd=False),
}


def fit_phase(
    learn: Learner,
    run: Run,
    phase: str,
    epochs: int,
    learning_rates: float | list[float],
    *,
    schedule: str = "one_cycle",
    restarts: int = 3,
    patience: int = 0,
    seed: int = 0,
    ema_decay: float = 0.0,
    start_weights_share: float = 0.0,
    start_size_fraction: float = 1.0,
    cbs: list[Callback] | None = None,
) -> Checkpoint:
    """Fit the `epochs` of a phase that `run` has no checkpoint of; load the best epoch's weights.

    `learning_rates` is one learning rate, or one per layer group. `ema_decay` is that of a moving
    average of the weights, 0 for none. `start_weights_share` is the share that the weights from
    before the phase have in the loaded ones. `start_size_fraction` is the fraction of the full size
    that photos start at. Raises TrainingError if memory runs out.

    Processes that train together start with the weights, the checkpoint and the learning rates of
    the first, and each of them gets its part of every batch.
    """
    check_agreement(run.identity)
    share_weights(learn.model)
    learning_rates = share(learning_rates)
    start = copy_state(learn.model) if start_weights_share else {}
    state = share(run.take_checkpoint(phase))
    checkpoint = Checkpoint(run, phase, patience, state)
    done = checkpoint.epochs_done
    if learn.opt is None:
        learn.create_opt()
    if state:
        learn.model.load_state_dict(state["model"])
        learn.opt.load_state_dict(to_device(state["optimizer"], learn.dls.device))
    if done < epochs and not checkpoint.out_of_patience:
        learn.opt.set_hyper("lr", learning_rates)
        by_group = np.array([group["lr"] for group in learn.opt.hypers])
        callbacks = [
            ParamScheduler(
                create_schedule(schedule, by_group, restarts, learn.moms, done / epochs)
            ),
            SeedEpochs(seed, done),
            checkpoint,
            *(cbs or []),
        ]
        if ema_decay:
            callbacks.append(WeightAverage(ema_decay))
        if schedule == "warm_restarts":
            callbacks.append(Snapshots(run.snapshots, restart_ends(restarts), done, epochs))
        if start_size_fraction < 1:
            callbacks.append(ProgressiveResizing(start_size_fraction, done, epochs))
        for callback in callbacks:
            if state and isinstance(callback, StatefulCallback):
                callback.saved_state = state["callbacks"][callback.name]
        try:
            with distributed_fit(learn):
                learn.fit(epochs - done, cbs=callbacks)
        except RuntimeError as error:  # torch has no class of its own for a CPU out of memory
            if is_out_of_memory(error):
                raise TrainingError(suggest_batch_size(learn.dls.bs)) from error
            raise
    if checkpoint.epochs_done:
        kept = checkpoint.state["best_model"]
        if start_weights_share:
            kept = average_states(start, kept, start_weights_share)
        learn.model.load_state_dict(kept)
    return checkpoint


def mixing_callbacks(mixup: float, cutmix: float) -> list[Callback]:
    """Return the callback that mixes photos and labels, by the alpha of its Beta distribution."""
    return [kind(float(alpha)) for kind, alpha in ((MixUp, mixup), (CutMix, cutmix)) if alpha]


def accumulation_callbacks(steps: int, batch_size: int) -> list[Callback]:
    """Return the callback that accumulates the gradients of `steps` batches.

    It counts the photos of this process.
    """
    return [GradientAccumulation(steps * batch_size // ranks().size)] if steps > 1 else []


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out, on a GPU or on a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def suggest_batch_size(batch_size: int) -> str:
    """Return the message for a batch size at which memory ran out."""
    smaller = max(1, batch_size // 2)
    return (
        f"Memory ran out with a batch of {batch_size} photos. Set `batch_size: {smaller}` and "
        f"`accumulation_steps: {max(2, batch_size // smaller)}`, which keeps the number of photos "
        "per optimizer step; or set a smaller `size`."
    )
