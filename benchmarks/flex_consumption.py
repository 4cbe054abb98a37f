"""What Azure publishes about Flex Consumption, and what we deploy there: every number once.

Read on LOOKED_UP, in copies of the pages that the sources name or, for prices, in quotations of
them, for the region REGION, in US dollars before tax. Both change: compare them with the pages
before you rely on them. What no page says is assumed, and says so.
"""

from typing import NamedTuple

LOOKED_UP = "2026-11-28"
REGION = "East US"


class Figure(NamedTuple):
    """A number with its unit, and the page that publishes it or the reason for an assumption."""

    value: float
    unit: str
    source: str


PLAN = "Azure Functions Flex Consumption plan hosting (learn.microsoft.com)"
SCALING = "Event-driven scaling in Azure Functions (learn.microsoft.com)"
HIGH_SCALE = "How to achieve high HTTP scale with Flex Consumption (Microsoft, 2024-06-17)"
PRICES = "Azure Functions pricing (azure.microsoft.com), as two others quote it in 2026"
CONTAINERS = "Azure Container Apps pricing (azure.microsoft.com), as quoted in 2026"
CONTAINER_QUOTAS = "Quotas for Azure Container Apps (learn.microsoft.com)"
MONITOR = "Azure Monitor service limits (learn.microsoft.com)"
COLD_STARTS = "one measurement with Python 3.11: cold start lab, Azure Functions practical guide"

# What infra/function.bicep deploys; a test compares them.
MEMORY_MB = 2048
PHOTOS_IN_FLIGHT = 4  # HTTP concurrency of an instance, and FIELDMARK_IN_FLIGHT
MAXIMUM_INSTANCES = 10

FIGURES = {
    "cores of an instance": Figure(1, "core of 2,048 MB", PLAN),
    "instances of an app": Figure(1000, "at most", PLAN),
    "lowest maximum": Figure(40, "instances; a newer quotation of the page says 1", PLAN),
    "quota": Figure(250, "cores in a region and subscription, unless raised", PLAN),
    "shortest billed time": Figure(1, "s, then in steps of 0.1 s", PLAN),
    "slow scale-out": Figure(1, "new instance a second, at most (all plans)", SCALING),
    "fast scale-out": Figure(17, "a second: 1,000 instances in less than a minute", HIGH_SCALE),
    "execution time": Figure(0.000026, "$ per GB-second, on demand", PRICES),
    "executions": Figure(0.40, "$ per million", PRICES),
    "free execution time": Figure(100_000, "GB-seconds a month, on demand", PRICES),
    "free executions": Figure(250_000, "a month, on demand", PRICES),
    "always ready, baseline": Figure(0.000004, "$ per GB-second", PRICES),
    "always ready, execution time": Figure(0.000016, "$ per GB-second", PRICES),
    "container, core": Figure(0.000024, "$ per core-second", CONTAINERS),
    "container, memory": Figure(0.000003, "$ per GiB-second; 2 GiB with a core", CONTAINERS),
    "container, requests": Figure(0.40, "$ per million", CONTAINERS),
    "container cores": Figure(4, "of a replica, at most; 1,000 replicas", CONTAINER_QUOTAS),
    "telemetry rate": Figure(32_000, "events a second, of Application Insights", MONITOR),
    "telemetry volume": Figure(100, "GB a day, of Application Insights, unless raised", MONITOR),
    "telemetry price": Figure(
        2.30, "$ per GB", "Azure Monitor pricing (azure.microsoft.com), as quoted"
    ),
    "first start": Figure(30, "s of the platform, from no instance", COLD_STARTS),
    "further start": Figure(1.8, "s of the platform, per added instance", COLD_STARTS),
    "load of an instance": Figure(0.7, "of its capacity, so that few photos queue", "assumed"),
    "telemetry of a request": Figure(2, "events: Azure's, and our log line", "`host.json`"),
    "size of an event": Figure(1000, "bytes", "assumed"),
    "core": Figure(1, "times the speed of a core of the measured machine", "assumed"),
}
MONTH = 730 * 3600  # seconds


def value(name: str) -> float:
    """Return a figure's number."""
    return FIGURES[name].value
