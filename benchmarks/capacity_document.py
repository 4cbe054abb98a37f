"""Fill the template of docs/capacity.md with results, costs and simulations."""

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from tabulate import tabulate

from benchmarks import burst_check, capacity_breaks, cost, scenarios
from benchmarks.burst import PAGE
from benchmarks.flex_consumption import (
    FIGURES,
    LOOKED_UP,
    MAXIMUM_INSTANCES,
    MEMORY_MB,
    MONTH,
    PHOTOS_IN_FLIGHT,
    REGION,
    value,
)
from benchmarks.results import to_markdown
from benchmarks.scenarios import Results, read_column

TEMPLATE = Path("benchmarks/capacity.md.jinja")
RATES = (10, 1000, 100_000)  # photos a second
WHOLE_CORE = 95  # % of the core; with less, other work took a part of it
RATE = "photos a second, 4 clients"
PLAN_COLUMNS = ("photos a second", "instances", "apps", "on demand", "always ready")
PLAN_COLUMNS += ("Container Apps", "telemetry", "on demand, per million photos")
TIME_COLUMNS = ("seconds", "picked", "ended", "of the picked answered")
TIME_COLUMNS += ("p50 in s", "p95 in s", "p99 in s", "instances at its start")


def to_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return tabulate(rows, columns, "pipe", disable_numparse=True)


def read_interval(cell: str) -> tuple[float, float, float]:
    """Return the mean and the ends of its interval from a cell; the mean thrice if it has none."""
    numbers = [float(number) for number in re.findall(r"\d+\.?\d*", cell)]
    mean, low, high = numbers if len(numbers) == 3 else numbers[:1] * 3
    return mean, low, high


def dollars(amount: float) -> str:
    """Format an amount with two significant digits or more."""
    digits = 0 if amount >= 100 else 2
    return f"${amount:,.{digits}f}"


def plan_rows(interval: tuple[float, float, float]) -> list[list[str]]:
    """Return a row for each of RATES; `interval` is the capacity and its ends."""
    rows = []
    for rate in RATES:
        plan, most, fewest = (cost.plan(rate, max(capacity, 0.1)) for capacity in interval)
        costs = (plan.on_demand, plan.always_ready, plan.containers, plan.telemetry)
        counts = [f"{plan.instances:,} ({fewest.instances:,} to {most.instances:,})"]
        million = dollars(plan.on_demand / (rate * MONTH / 1e6))
        rows.append([f"{rate:,}", *counts, f"{plan.apps:,}", *map(dollars, costs), million])
    return rows


def other_instances(results: Results) -> str:
    """Return a phrase with the instances for 1,000 photos a second of the other kinds."""
    _, *kinds = results["capacity"]["columns"]
    counts = [
        f"{cost.count_instances(1000, read_column(results['capacity'], column)[RATE]):,} instances "
        f"({kinds[column - 1]})"
        for column in (1, 3)
    ]
    return " and ".join(counts)


def summarise(results: Results, capacity: float, start: float) -> dict[str, str]:
    """Return the figures of the summary."""
    ready = cost.GIGABYTES * MONTH * value("always ready, baseline")
    ten = MAXIMUM_INSTANCES * capacity * value("core")
    limits = cost.limits(capacity)
    names = {"telemetry volume": "the logs of a day", "quota": "the quota of a region"}
    first = [
        f"{names[name]} ({rate:,.0f} a second)" for name, rate in limits.items() if name in names
    ]
    return {
        "capacity": f"{capacity:.1f} photos",
        "ten": f"{ten:,.0f} a second",
        "ten_cost": dollars(cost.dearest_month(capacity)),
        "first_limits": " and ".join(first),
        "cold": f"{value('first start') + start:.0f}",
        "ready_cost": dollars(ready),
    }


def figure_rows() -> list[list[str]]:
    """Return a row for each number and its source."""
    return [
        [name, f"{f.value:,.6f}".rstrip("0").rstrip("."), f.unit, f.source]
        for name, f in FIGURES.items()
    ]


def write_document(results: Results) -> str:
    """Return the document."""
    page = next(row for row in results["capacity"]["rows"] if row[0] == RATE)[2]
    capacity, *_ = interval = read_interval(page)
    megabytes = scenarios.read_cell(results["capacity"]["columns"][2])
    share = scenarios.page_photos(results)["% of the core, 4 clients"]
    start = read_column(results["capacity-load"])["first answer, seconds after the start"]
    environment = jinja2.Environment(  # noqa: S701  # Markdown, of our own numbers
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        short=summarise(results, capacity, start),
        memory=f"{MEMORY_MB:,}",
        in_flight=PHOTOS_IN_FLIGHT,
        capacity=to_markdown(results["capacity"]),
        load=to_markdown(results["capacity-load"]),
        shared=share < WHOLE_CORE,
        core_share=f"{share:.0f}",
        planned=f"{100 * value('load of an instance'):.0f}",
        region=REGION,
        plans=to_table(PLAN_COLUMNS, plan_rows(interval)),
        event=f"{value('size of an event'):,.0f}",
        other_instances=other_instances(results),
        lone=f"${cost.cost_of_lone_photo():.6f}",
        free=f"{cost.free_lone_photos():,.0f}",
        timeout=PAGE["timeout_seconds"],
        fast=f"{value('fast scale-out'):.0f}",
        first=f"{value('first start'):.0f}",
        further=f"{value('further start'):.1f}",
        bursts=to_markdown(results["capacity-burst"]),
        visitors=f"{scenarios.VISITORS:,}",
        time=to_table(TIME_COLUMNS, scenarios.describe_time(results)),
        check=to_table(burst_check.COLUMNS, burst_check.check_rows(results)),
        breaks=to_table(
            capacity_breaks.COLUMNS, capacity_breaks.list_breaks(results, capacity, start)
        ),
        gigabits=f"{8e-3 * RATES[-1] * megabytes:.0f}",
        lowest=f"{value('lowest maximum'):.0f}",
        maximum=MAXIMUM_INSTANCES,
        bulk=f"{1e6 / capacity / 3600:.0f}",
        looked_up=LOOKED_UP,
        figures=to_table(("number", "value", "unit", "source"), figure_rows()),
    )
