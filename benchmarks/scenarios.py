"""Simulate the bursts that docs/capacity.md reports, with what was measured of one instance."""

import re
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import burst
from benchmarks.burst import Platform
from benchmarks.flex_consumption import MAXIMUM_INSTANCES, PHOTOS_IN_FLIGHT, value
from benchmarks.results import report
from benchmarks.simulated_instance import Function, lognormal

VISITORS = 5000
SEEDS = range(5)
QUICK_START = 5  # seconds; what it would change if one published measurement were too slow
NAMED = {  # a scenario's name -> how it differs from what is deployed
    "as deployed": {},
    f"first start in {QUICK_START} s": {"first_start": QUICK_START},
    "one new instance a second": {"rate": int(value("slow scale-out"))},
    "1 instance always ready": {"always_ready": 1},
    "5 always ready": {"always_ready": 5},
    "5 always ready, at most 40": {"always_ready": 5, "maximum": 40},
    "at most 250, the quota": {"maximum": int(value("quota"))},
    "as deployed, passed on": {"held": False},
    "5 always ready, at most 40, passed on": {"always_ready": 5, "maximum": 40, "held": False},
}
Results = dict[str, dict]


def read_cell(cell: str) -> float:
    """Return the first number of a table's cell."""
    return float(re.findall(r"-?\d[\d,]*\.?\d*", cell)[0].replace(",", ""))


def read_column(result: dict, column: int = 1) -> dict[str, float]:
    """Return the numbers of a column by the names of their rows."""
    return {row[0]: read_cell(row[column]) for row in result["rows"] if row[column]}


def page_photos(results: Results) -> dict[str, float]:
    """Return what was measured of photos as the page sends them."""
    return read_column(results["capacity"], 2)


def measured_function(results: Results) -> Function:
    """Return the function as deployed, for photos of the page on the measured core."""
    page, load = page_photos(results), read_column(results["capacity-load"])
    mean = 1 / (page["photos a second, 4 clients"] * value("core"))
    draw = lognormal(mean, page["p95 in ms, 1 client"] / page["p50 in ms, 1 client"])
    refusal = load["CPU time of a refusal, ms"] / 1000
    return Function(int(value("cores of an instance")), PHOTOS_IN_FLIGHT, draw, refusal)


def deployed_platform(results: Results, **changes: Any) -> Platform:
    """Return Azure as the function is deployed on it, with changes."""
    start = read_column(results["capacity-load"])["first answer, seconds after the start"]
    platform = Platform(
        PHOTOS_IN_FLIGHT,
        MAXIMUM_INSTANCES,
        int(value("fast scale-out")),
        value("first start") + start,
        value("further start") + start,
    )
    return platform._replace(**changes)


def spread(values: Sequence[float], digits: int = 1, factor: float = 1) -> str:
    """Format the median of some values, and their range."""
    ends = (factor * end + 0.0 for end in (statistics.median(values), min(values), max(values)))
    middle, low, high = (f"{end:.{digits}f}" for end in ends)
    return middle if low == high else f"{middle} ({low} to {high})"


def describe_bursts(bursts: Sequence[burst.Burst]) -> list[str]:
    """Return the cells of a scenario that was simulated with several seeds."""
    waits = [each.waits() for each in bursts]
    fleets = [each.fleet for each in bursts]
    answered = [len(w) / len(b.photos) for w, b in zip(waits, bursts, strict=True)]
    times = [spread([float(np.quantile(w, q)) for w in waits]) for q in (0.5, 0.95, 0.99)]
    refused = spread([fleet.refused / fleet.sent for fleet in fleets], 1, 100)
    most = spread([max(each.instances) for each in bursts], 0)
    return [spread(answered, 1, 100), refused, *times, most]


def simulate(
    results: Results, visitors: int, seeds: Sequence[int] = SEEDS, **changes: Any
) -> list[burst.Burst]:
    """Simulate a burst on what is deployed, with changes, once for each seed."""
    function, platform = measured_function(results), deployed_platform(results, **changes)
    return [burst.simulate_burst(function, platform, visitors, seed=seed) for seed in seeds]


def fewer_visitors(results: Results, count: int) -> list[str]:
    """Return the row of a smaller burst on what is deployed."""
    return [f"{count:,}, as deployed", *describe_bursts(simulate(results, count))]


def report_bursts(results: Results) -> None:
    """Simulate all bursts; print them, and save docs/results/capacity-burst.json."""
    rows = [
        [f"{VISITORS:,}, {name}", *describe_bursts(simulate(results, VISITORS, **changes))]
        for name, changes in NAMED.items()
    ]
    rows = [fewer_visitors(results, count) for count in (100, 500, 1000, 2000)] + rows
    columns = ["visitors in a minute", "% of photos answered", "% of requests refused"]
    columns += ["p50 in s", "p95 in s", "p99 in s", "most instances"]
    report("capacity-burst", "python -m benchmarks.capacity --measure", columns, rows, True)


def describe_time(results: Results, step: int = 10) -> list[list[str]]:
    """Return rows of the deployed function's burst over time: photos by when they were picked."""
    [done] = simulate(results, VISITORS, [0])
    rows = []
    for start in range(0, len(done.instances), step):
        waits = done.waits(start, start + step)
        picked = sum(start <= photo.picked < start + step for photo in done.photos)
        ended = sum(start <= photo.ended < start + step for photo in done.photos)
        quantiles = [
            f"{np.quantile(waits, q):.1f}" if len(waits) else "" for q in (0.5, 0.95, 0.99)
        ]
        counts = [f"{start} to {start + step}", f"{picked:,}", f"{ended:,}"]
        rows.append([*counts, f"{len(waits):,}", *quantiles, str(done.instances[start])])
    return rows
