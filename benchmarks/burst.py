"""Simulate a burst of visitors, and the instances that Azure starts for them, with SimPy.

Visitors send and repeat photos as the page does (app/browser/request.js). Times are seconds.
Networks, and the requests for the page and the model card, take none.
"""

import json
import math
import random
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simpy

from benchmarks.simulated_instance import Function, Instance, Process
from birds.http.load_shedding import RETRY_AFTER

PAGE = json.loads(Path("app/browser/requests.json").read_text(encoding="utf-8"))
CONCURRENT_PHOTOS = 2  # of a visitor: app/browser/page.js
PHOTOS = (1, 3)  # of a visitor: fewest, most
MINUTE = 60


class Platform(NamedTuple):
    """How requests reach instances, and instances start.

    `concurrency` requests per instance are aimed at. Requests beyond it are `held` until an
    instance is free, or passed on to the one with the fewest. `rate` instances start per second, at
    most; the first is ready after `first_start`, others after `further_start`, `always_ready` ones
    from the beginning.
    """

    concurrency: int
    maximum: int
    rate: int
    first_start: float = 0.0
    further_start: float = 0.0
    always_ready: int = 0
    held: bool = True


class Fleet:
    """The instances of an app, and the requests that wait for one.

    Each request sent is in the end one of `answered`, `refused` and `timed_out`.
    """

    def __init__(
        self, env: simpy.Environment, function: Function, platform: Platform, rng: random.Random
    ):
        self.env, self.function, self.platform, self.rng = env, function, platform, rng
        self.ready = [Instance(env, function, rng) for _ in range(platform.always_ready)]
        self.waiting: deque[simpy.Event] = deque()
        self.starting = self.sent = self.answered = self.refused = self.timed_out = 0
        self.counted = 0  # refusals that were counted as demand
        env.process(self.scale())

    def send(self) -> Process:
        """Send a photo; return the status: 200, 503, or 0 after the client's timeout."""
        self.sent += 1
        instance = min(self.ready, key=lambda each: each.in_flight, default=None)
        limit = self.platform.concurrency if self.platform.held else math.inf
        if instance is None or instance.in_flight >= limit:
            turn = self.env.event()
            self.waiting.append(turn)
            yield turn | self.env.timeout(PAGE["timeout_seconds"])
            if not turn.triggered:
                self.waiting.remove(turn)
                self.timed_out += 1
                return 0
            turn_value: Any = turn.value
            instance, admitted = turn_value
        else:
            admitted = instance.admit()
        if not admitted:
            self.refused += 1
            return 503
        yield from instance.classify()
        self.answered += 1
        self.hand_over(instance)
        return 200

    def hand_over(self, instance: Instance) -> None:
        """Give requests that wait to an instance: those that are free places, or all."""
        limit = self.platform.concurrency if self.platform.held else math.inf
        while self.waiting and instance.in_flight < limit:
            turn = self.waiting.popleft()
            turn.succeed((instance, instance.admit()))

    def scale(self) -> Process:
        """Start instances each second, for what is in flight, waits, or was refused since."""
        platform = self.platform
        while True:
            demand = sum(each.in_flight for each in self.ready) + len(self.waiting)
            demand += self.refused - self.counted
            self.counted = self.refused
            wanted = min(platform.maximum, math.ceil(demand / platform.concurrency))
            for _ in range(min(platform.rate, wanted - len(self.ready) - self.starting)):
                self.env.process(self.start())
            yield self.env.timeout(1)

    def start(self) -> Process:
        """Start an instance."""
        is_first = not self.ready
        self.starting += 1
        yield self.env.timeout(
            self.platform.first_start if is_first else self.platform.further_start
        )
        self.starting -= 1
        self.ready.append(Instance(self.env, self.function, self.rng))
        self.hand_over(self.ready[-1])


class Photo(NamedTuple):
    """A visitor's photo: when it was picked, when the page showed an end, and its status."""

    picked: float
    ended: float
    status: int


class Burst(NamedTuple):
    """What happened: all photos, the fleet, and its number of instances at each second."""

    photos: list[Photo]
    fleet: Fleet
    instances: list[int]

    def waits(self, start: float = 0, end: float = math.inf) -> np.ndarray:
        """Return the seconds until the answers to photos that were picked in an interval."""
        photos = [p for p in self.photos if p.status == 200 and start <= p.picked < end]
        return np.array([photo.ended - photo.picked for photo in photos])


def send_photo(
    env: simpy.Environment, fleet: Fleet, places: simpy.Resource, photos: list[Photo]
) -> Process:
    """Send a photo when its turn on the page comes, and again while the function is busy."""
    picked, status = env.now, 503
    with places.request() as place:
        yield place
        for attempts_left in reversed(range(PAGE["busy_attempts"])):
            status = yield from fleet.send()
            if status != 503 or not attempts_left:
                break
            yield env.timeout(min(PAGE["busy_max_wait_seconds"], RETRY_AFTER))
    photos.append(Photo(picked, env.now, status))


def simulate_burst(
    function: Function, platform: Platform, visitors: int, seconds: float = MINUTE, seed: int = 0
) -> Burst:
    """Let visitors arrive at random moments of an interval, and wait until all have an end."""
    env, rng = simpy.Environment(), random.Random(seed)  # noqa: S311  # a simulation
    fleet, photos, instances = Fleet(env, function, platform, rng), [], []

    def visit(arrival: float) -> Process:
        yield env.timeout(arrival)
        places = simpy.Resource(env, CONCURRENT_PHOTOS)
        sent = [send_photo(env, fleet, places, photos) for _ in range(rng.randint(*PHOTOS))]
        yield env.all_of([env.process(each) for each in sent])

    def watch() -> Process:
        while True:
            instances.append(len(fleet.ready))
            yield env.timeout(1)

    env.process(watch())
    visits = [env.process(visit(rng.uniform(0, seconds))) for _ in range(visitors)]
    env.run(env.all_of(visits))
    return Burst(photos, fleet, instances)
