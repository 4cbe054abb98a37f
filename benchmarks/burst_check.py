"""Compare simulated single instances with measured ones: the soak test's, and that of capacity.

A simulation knows the capacity of an instance, how long a photo takes alone, and the cost of a
refusal. What happens at four times the capacity, and with four clients, it has to predict.
"""

import re
from collections.abc import Iterator

import numpy as np

from benchmarks import instance
from benchmarks.flex_consumption import PHOTOS_IN_FLIGHT
from benchmarks.scenarios import Results, measured_function, page_photos, read_column
from benchmarks.simulated_instance import (
    Function,
    lognormal,
    simulate_clients,
    simulate_instance,
)

SOAK_SECONDS, SOAK_WORKERS = 60, 2  # of tests/birds/test_endurance.py, on two cores
SECONDS = 60
COLUMNS = ("", "measured", "simulated", "difference")


def compare(name: str, measured: float, simulated: float) -> list[str]:
    """Return a row of the comparison."""
    difference = f"{100 * (simulated / measured - 1):+.0f} %"
    return [name, f"{measured:.1f}", f"{simulated:.1f}", difference]


def overload(function: Function, capacity: float, seconds: float) -> tuple[np.ndarray, float]:
    """Simulate the soak test's overload; return the seconds of answers, and the share refused."""
    times, refused = simulate_instance(function, instance.OVERLOAD * capacity, seconds)
    return times, refused / (refused + len(times))


def check_soak(results: Results) -> Iterator[list[str]]:
    """Yield rows for the minute of overload in docs/results/soak.json."""
    rows = read_column(results["soak"])
    answered, refused = (rows[name] for name in rows if name.startswith("responses "))
    p99 = next(rows[name] for name in rows if name.startswith("99th percentile"))
    served = next(row for row in results["serve-small"]["rows"] if row[0] == instance.SERVER)
    alone, alone_p99 = map(float, re.findall(r"[\d.]+", served[1]))
    capacity = (answered + refused) / SOAK_SECONDS / instance.OVERLOAD
    draw = lognormal(SOAK_WORKERS / capacity, alone_p99 / alone, 0.99)
    refusal = read_column(results["capacity-load"])["CPU time of a refusal, ms"] / 1000
    function = Function(SOAK_WORKERS, 2 * SOAK_WORKERS, draw, refusal)
    times, share = overload(function, capacity, SOAK_SECONDS)
    measured = answered / SOAK_SECONDS
    yield compare("soak test, answered a second", measured, len(times) / SOAK_SECONDS)
    yield compare("soak test, % refused", 100 * refused / (answered + refused), 100 * share)
    yield compare("soak test, p99 in ms", p99, 1000 * float(np.quantile(times, 0.99)))


def check_instance(results: Results) -> Iterator[list[str]]:
    """Yield rows for the instance of docs/results/capacity.json, overloaded and with clients."""
    small, load = read_column(results["capacity"]), read_column(results["capacity-load"])
    capacity = load["capacity, photos a second"]
    draw = lognormal(1 / capacity, small["p95 in ms, 1 client"] / small["p50 in ms, 1 client"])
    function = measured_function(results)._replace(draw=draw)
    times, share = overload(function, capacity, SECONDS)
    quantiles = 1000 * np.quantile(times, [0.5, 0.95])
    name = "one core, four times its capacity, "
    yield compare(f"{name}answered a second", load["answered a second"], len(times) / SECONDS)
    yield compare(f"{name}% refused", load["% refused (503)"], 100 * share)
    yield compare(f"{name}p50 in ms", load["p50 of the answered, ms"], quantiles[0])
    yield compare(f"{name}p95 in ms", load["p95 of the answered, ms"], quantiles[1])
    page, clients = page_photos(results), measured_function(results)
    times = simulate_clients(clients, PHOTOS_IN_FLIGHT, SECONDS)
    for share, key in ((0.5, "p50"), (0.95, "p95")):
        measured = page[f"{key} in ms, 4 clients"]
        simulated = 1000 * float(np.quantile(times, share))
        yield compare(f"one core, 4 clients of the page, {key} in ms", measured, simulated)


def check_rows(results: Results) -> list[list[str]]:
    """Return all rows."""
    return [*check_soak(results), *check_instance(results)]
