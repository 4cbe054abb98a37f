"""Compute instances and cost of a steady load on Azure, from figures of flex_consumption."""

import math
from typing import NamedTuple

from benchmarks.flex_consumption import FIGURES, MAXIMUM_INSTANCES, MEMORY_MB, MONTH, value

GIGABYTES = MEMORY_MB / 1024


class Plan(NamedTuple):
    """What a steady load of `rate` photos a second needs, and costs in dollars a month.

    `containers` is the cost of as many cores on Azure Container Apps, `telemetry` that of the
    logs on any of them.
    """

    rate: float
    instances: int
    apps: int
    on_demand: float
    always_ready: float
    containers: float
    telemetry: float


def count_instances(rate: float, capacity: float) -> int:
    """Return the instances for a rate, of which each answers `capacity` photos a second at most."""
    return math.ceil(rate / (capacity * value("core") * value("load of an instance")))


def plan(rate: float, capacity: float) -> Plan:
    """Return instances and cost of a rate that never changes.

    An instance under such a load is never idle for longer than the shortest billed time, so all of
    its time is billed.
    """
    instances, photos = count_instances(rate, capacity), rate * MONTH
    memory = instances * GIGABYTES * MONTH  # GB-seconds
    executions = photos / 1e6 * value("executions")
    on_demand = max(0.0, memory - value("free execution time")) * value("execution time")
    on_demand += max(0.0, photos - value("free executions")) / 1e6 * value("executions")
    ready = value("always ready, baseline") + value("always ready, execution time")
    core = value("container, core") + GIGABYTES * value("container, memory")
    containers = instances * MONTH * core + photos / 1e6 * value("container, requests")
    return Plan(
        rate,
        instances,
        math.ceil(instances / value("instances of an app")),
        on_demand,
        memory * ready + executions,
        containers,
        photos * telemetry_bytes() / 1e9 * value("telemetry price"),
    )


def dearest_month(capacity: float) -> float:
    """Return the dollars of a month in which all deployed instances are busy all the time."""
    rate = MAXIMUM_INSTANCES * capacity * value("core")
    planned = rate * value("load of an instance")
    return plan(planned, capacity).on_demand + (rate - planned) * MONTH / 1e6 * value("executions")


def telemetry_bytes() -> float:
    """Return the bytes of telemetry of a request."""
    return value("telemetry of a request") * value("size of an event")


def cost_of_lone_photo() -> float:
    """Return the dollars of a photo on an instance that was idle before and is again after it."""
    seconds = value("shortest billed time")
    return seconds * GIGABYTES * value("execution time") + value("executions") / 1e6


def free_lone_photos() -> float:
    """Return how many such photos a month cost nothing."""
    time = value("free execution time") / (value("shortest billed time") * GIGABYTES)
    return min(time, value("free executions"))


def limits(capacity: float) -> dict[str, float]:
    """Return the photos a second at which each published limit is reached, in ascending order."""
    core = capacity * value("core")
    cores = MEMORY_MB / 2048 * FIGURES["cores of an instance"].value
    found = {
        "one instance": core,
        "telemetry volume": value("telemetry volume") * 1e9 / 86400 / telemetry_bytes(),
        "telemetry rate": value("telemetry rate") / value("telemetry of a request"),
        "quota": value("quota") / cores * core,
        "instances of an app": value("instances of an app") * core,
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))
