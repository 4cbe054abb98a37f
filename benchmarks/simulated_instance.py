"""Simulate one instance of the function with SimPy: its workers, its queue and its refusals.

It is birds.http.load_shedding.Slots with workers that compute. Times are seconds.
"""

import math
import random
from collections.abc import Callable, Generator
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import simpy

from birds.http.load_shedding import RETRY_AFTER

Process = Generator[simpy.Event, Any, Any]


class Function(NamedTuple):
    """An instance of the function.

    `draw` returns the seconds of a photo on one of `workers`; `refusal` seconds of CPU time are
    taken from the photos by each 503. After one, nothing queues for `patience` seconds.
    """

    workers: int
    max_in_flight: int
    draw: Callable[[random.Random], float]
    refusal: float = 0.0
    patience: float = RETRY_AFTER


def lognormal(mean: float, ratio: float, share: float = 0.95) -> Callable[[random.Random], float]:
    """Return a function that draws times whose quantile `share` is `ratio` times the median."""
    sigma = math.log(max(ratio, 1.0)) / NormalDist().inv_cdf(share)
    return lambda rng: rng.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)


class Instance:
    """A running instance."""

    def __init__(self, env: simpy.Environment, function: Function, rng: random.Random):
        self.env, self.function, self.rng = env, function, rng
        self.workers = simpy.Resource(env, function.workers)
        self.in_flight, self.owed, self.last_rejection = 0, 0.0, -math.inf

    def admit(self) -> bool:
        """Take a slot and return True, or refuse the photo."""
        overloaded = self.env.now - self.last_rejection < self.function.patience
        limit = self.function.workers if overloaded else self.function.max_in_flight
        if self.in_flight < limit:
            self.in_flight += 1
            return True
        self.last_rejection = self.env.now
        self.owed += self.function.refusal
        return False

    def classify(self) -> Process:
        """Classify an admitted photo; the time of refusals meanwhile delays it."""
        with self.workers.request() as worker:
            yield worker
            yield self.env.timeout(self.function.draw(self.rng))
            while self.owed:
                owed, self.owed = self.owed, 0.0
                yield self.env.timeout(owed)
        self.in_flight -= 1


def simulate_clients(function: Function, clients: int, seconds: float, seed: int = 0) -> np.ndarray:
    """Let clients send photos to one instance, each the next after its answer.

    Returns the seconds of the answers.
    """
    env, rng, times = simpy.Environment(), random.Random(seed), []  # noqa: S311
    instance = Instance(env, function, rng)

    def send() -> Process:
        while instance.admit():
            started = env.now
            yield from instance.classify()
            times.append(env.now - started)

    for _ in range(clients):
        env.process(send())
    env.run(seconds)
    return np.array(times)


def simulate_instance(
    function: Function, rate: float, seconds: float, seed: int = 0, poisson: bool = False
) -> tuple[np.ndarray, int]:
    """Send photos to one instance at a rate, evenly or at random; nobody repeats one.

    Returns the seconds of the answers, and the number of refusals.
    """
    env, rng, times, refused = simpy.Environment(), random.Random(seed), [], []  # noqa: S311
    instance = Instance(env, function, rng)

    def send() -> Process:
        started = env.now
        yield from instance.classify()
        times.append(env.now - started)

    def arrive() -> Process:
        for _ in range(int(rate * seconds)):
            if instance.admit():
                env.process(send())
            else:
                refused.append(env.now)
            yield env.timeout(rng.expovariate(rate) if poisson else 1 / rate)

    env.process(arrive())
    env.run()
    return np.array(times), len(refused)
