"""Learning rate schedules, as functions of the fraction of the fit that is done."""

from collections.abc import Callable

import numpy as np
from fastai.vision.all import SchedCos, combine_scheds, combined_cos

SCHEDULES = ("one_cycle", "warm_restarts", "flat_cosine")


def create_schedule(
    name: str, learning_rates: np.ndarray, restarts: int, momenta: tuple, start: float = 0.0
) -> dict[str, Callable]:
    """Return the schedules of a fit by hyperparameter, for fastai's ParamScheduler.

    `one_cycle` rises to the learning rates and falls to 0 (Smith 2018), `flat_cosine` stays and
    then falls, `warm_restarts` falls `restarts` times, each time twice as slowly (Loshchilov 2017).
    A resumed fit continues at the fraction `start`.
    """
    if name == "one_cycle":
        schedules = {
            "lr": combined_cos(0.2, learning_rates / 25, learning_rates, learning_rates / 1e5),
            "mom": combined_cos(0.2, *momenta),
        }
    elif name == "flat_cosine":
        schedules = {"lr": combined_cos(0.75, learning_rates, learning_rates, learning_rates / 1e5)}
    else:
        fractions = np.diff(restart_ends(restarts), prepend=0)
        falls = [SchedCos(learning_rates, 0 * learning_rates) for _ in fractions]
        schedules = {"lr": combine_scheds(list(fractions), falls)}
    return {name: continue_schedule(values, start) for name, values in schedules.items()}


def restart_ends(restarts: int) -> np.ndarray:
    """Return the fractions of the fit at which the falls of warm restarts end, [restarts]."""
    lengths = 2.0 ** np.arange(restarts)
    return lengths.cumsum() / lengths.sum()


def continue_schedule(schedule: Callable, start: float) -> Callable:
    """Return the rest of a schedule from the fraction `start` on."""
    return lambda fraction: schedule(min(start + fraction * (1 - start), 1.0))
