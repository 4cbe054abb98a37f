"""The simulation of a burst follows the function, the page and queueing theory; costs add up."""

import math
import random
import re

import numpy as np
import pytest

from benchmarks import (
    burst,
    burst_check,
    capacity_breaks,
    capacity_document,
    cost,
    flex_consumption,
    instance,
    results,
    scenarios,
    simulated_instance,
)
from benchmarks.burst import Platform
from benchmarks.flex_consumption import value
from benchmarks.simulated_instance import Function, Instance
from birds.http import load_shedding
from birds.http.load_shedding import Slots
from birds.http.problems import Problem
from tests.conftest import ROOT
from tests.test_infra import DEFAULTS

RESULTS = results.load_results()
RATE, SECONDS = 50.0, 400


def exponential(rng: random.Random) -> float:
    return rng.expovariate(RATE)


def erlang(rate: float, workers: int, places: int) -> tuple[float, float]:
    """Return the share refused, and the mean time of the others, of an M/M/c/K queue."""
    offered = rate / RATE
    weights = [
        offered**n / (math.factorial(min(n, workers)) * workers ** max(0, n - workers))
        for n in range(places + 1)
    ]
    shares = [weight / sum(weights) for weight in weights]
    mean = sum(n * share for n, share in enumerate(shares))
    return shares[-1], mean / (rate * (1 - shares[-1]))


@pytest.mark.parametrize(("workers", "places", "rate"), [(1, 4, 45), (2, 2, 80), (3, 9, 180)])
def test_a_simulated_instance_refuses_and_waits_as_erlangs_formulas_say(workers, places, rate):
    function = Function(workers, places, exponential, patience=0)
    times, refused = simulated_instance.simulate_instance(function, rate, SECONDS, poisson=True)
    share, mean = erlang(rate, workers, places)
    assert refused / (refused + len(times)) == pytest.approx(share, rel=0.08)
    assert times.mean() == pytest.approx(mean, rel=0.05)


def test_photos_of_equal_cost_wait_half_as_long_as_the_pollaczek_khinchine_formula_says_of_random():
    load = 0.7
    function = Function(1, 10**6, lambda _: 1 / RATE, patience=0)
    times, _ = simulated_instance.simulate_instance(function, load * RATE, SECONDS, poisson=True)
    assert times.mean() == pytest.approx((1 + load / (2 * (1 - load))) / RATE, rel=0.05)


def test_a_simulated_instance_admits_and_refuses_exactly_as_the_function_does(monkeypatch):
    rng, environment = random.Random(3), burst.simpy.Environment()
    monkeypatch.setattr(load_shedding.time, "monotonic", lambda: environment.now)
    slots, simulated = Slots(2, 4), Instance(environment, Function(2, 4, exponential), rng)
    held, decisions = [], []
    for _ in range(500):
        environment.run(environment.now + rng.expovariate(4))
        if held and rng.random() < 0.4:
            held.pop().__exit__(None, None, None)
            simulated.in_flight -= 1
        slot = slots.acquire()
        try:
            slot.__enter__()
            held.append(slot)
            decisions.append(True)
        except Problem:
            decisions.append(False)
        assert simulated.admit() == decisions[-1]
    assert {True, False} == set(decisions)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("always_ready", [0, 2])
def test_every_request_and_every_photo_has_exactly_one_end(held, always_ready):
    function = Function(1, 4, lambda rng: rng.uniform(0.05, 0.15), refusal=0.001)
    platform = Platform(4, 3, 1, 70, 1, always_ready, held)
    done = burst.simulate_burst(function, platform, visitors=600)
    fleet, statuses = done.fleet, [photo.status for photo in done.photos]
    assert fleet.sent == fleet.answered + fleet.refused + fleet.timed_out
    assert statuses.count(200) == fleet.answered
    assert statuses.count(0) == fleet.timed_out
    assert 600 < len(statuses) < 1800
    assert (fleet.timed_out > 0) == (not always_ready)  # the first start takes 70 s
    assert (fleet.refused > 0) == (not held)
    assert statuses.count(503) <= fleet.refused / burst.PAGE["busy_attempts"]
    assert not fleet.waiting
    assert all(each.in_flight == 0 for each in fleet.ready)
    assert max(done.instances) <= 3


def test_nothing_is_answered_before_the_first_instance_has_started():
    function = Function(1, 4, lambda _: 0.01)
    cold = burst.simulate_burst(function, Platform(4, 10, 17, first_start=20), 50)
    warm = burst.simulate_burst(function, Platform(4, 10, 17, first_start=20, always_ready=1), 50)
    assert min(photo.ended for photo in cold.photos) > 20
    assert warm.waits().max() < 1


def test_the_simulation_has_the_numbers_of_the_deployment_and_of_the_page():
    assert DEFAULTS["instanceMemory"] == flex_consumption.MEMORY_MB
    assert DEFAULTS["photosInFlight"] == flex_consumption.PHOTOS_IN_FLIGHT
    assert DEFAULTS["maximumInstances"] == flex_consumption.MAXIMUM_INSTANCES
    for file, name, number in (
        ("app/browser/page.js", "CONCURRENT_PHOTOS", burst.CONCURRENT_PHOTOS),
        ("app/browser/photo.js", "SENT_PHOTO", max(instance.PAGE_PHOTO)),
        ("app/http_server.py", "MAX_CONNECTIONS", capacity_breaks.CONNECTIONS),
    ):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert int(re.search(rf"\b{name} = (\d+)", text)[1]) == number
    request = (ROOT / "app/browser/request.js").read_text(encoding="utf-8")
    assert all(part in request for part in re.findall(r"\w+=\w+", instance.PAGE_QUERY))


def test_a_month_costs_its_memory_and_its_requests_less_the_grant():
    plan = cost.plan(10, capacity=20)
    hours = 730
    assert (plan.instances, plan.apps) == (1, 1)
    memory = (2 * hours * 3600 - 100_000) * 0.000026
    requests = (10 * hours * 3600 - 250_000) / 1e6 * 0.40
    assert plan.on_demand == pytest.approx(memory + requests)
    assert plan.always_ready < plan.on_demand
    large = cost.plan(100_000, capacity=20)
    assert large.instances == math.ceil(100_000 / (20 * value("load of an instance")))
    assert large.apps == math.ceil(large.instances / 1000)
    assert cost.free_lone_photos() == 50_000


def test_simulated_and_measured_single_instances_agree_on_answers_and_refusals():
    rows = {row[0]: row[1:3] for row in burst_check.check_rows(RESULTS)}
    for name, cells in rows.items():
        measured, simulated = map(float, cells)
        if name.startswith("soak test") and "p99" not in name:
            assert simulated == pytest.approx(measured, rel=0.1), name


def test_a_committed_burst_can_be_simulated_again():
    assert scenarios.fewer_visitors(RESULTS, 100) in RESULTS["capacity-burst"]["rows"]


def test_the_document_is_that_of_the_committed_results():
    text = (ROOT / "docs/capacity.md").read_text(encoding="utf-8")
    assert capacity_document.write_document(RESULTS) == text


@pytest.mark.slow
def test_one_instance_is_measured(capsys):
    instance.measure(rounds=1, seconds=0.3, save=False)
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line]
    cells = {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in rows}
    rates = [float(cell) for cell in cells["photos a second, 4 clients"]]
    assert all(np.array(rates) > 0)
    assert float(cells["first answer, seconds after the start"][0]) > 0
    assert 0 <= float(cells["% refused (503)"][0]) <= 100
