"""List what breaks first as the load grows, and what to change then."""

from benchmarks import cost
from benchmarks.flex_consumption import MAXIMUM_INSTANCES, PHOTOS_IN_FLIGHT, value
from benchmarks.scenarios import Results, read_column

DYNO_MB = 512  # of memory: Heroku's smallest dynos
CONNECTIONS = 400  # of the page: app/http_server.py
COLUMNS = ("from", "what breaks", "what to change then")


def count_visitors(results: Results) -> int:
    """Return the visitors of the Voila page that fit into a dyno while all send a photo."""
    megabytes = read_column(results["visitors"])
    peak = megabytes["peak while a photo is classified"]
    each = megabytes["a visitor after the photo"] + peak
    return int((DYNO_MB - megabytes["Voila at the end"]) // each)


def list_breaks(results: Results, capacity: float, start: float) -> list[tuple[str, str, str]]:
    """Return rows of the table, with `capacity` photos a second and `start` seconds of an instance.

    Rows with a rate are sorted by it; those before them break at any rate.
    """
    limits = cost.limits(capacity)
    limits["maximum"] = MAXIMUM_INSTANCES * capacity * value("core")
    rates = {name: f"{rate:,.0f} photos a second" for name, rate in limits.items()}
    breaks = {
        "one instance": (
            f"one instance: {PHOTOS_IN_FLIGHT} photos in flight, the fourth waits longest",
            "nothing: Azure starts the next one. A lower `photosInFlight` starts it earlier",
        ),
        "maximum": (
            f"`maximumInstances`, {MAXIMUM_INSTANCES}; photos wait, or get 503",
            "raise it in `infra/function.bicep`, to what you would pay for",
        ),
        "telemetry volume": (
            f"{value('telemetry volume'):.0f} GB of logs a day, if the load lasts all day",
            "sample requests and traces in `host.json`",
        ),
        "quota": (
            f"{value('quota'):,.0f} cores of a region and subscription",
            "ask Azure's support to raise it, or use several regions behind Front Door",
        ),
        "telemetry rate": (
            f"{value('telemetry rate'):,.0f} log events a second; more are dropped",
            "sample, or let each app have its own Application Insights",
        ),
        "instances of an app": (
            f"{value('instances of an app'):,.0f} instances of an app, if the quota allows them",
            "several apps behind Front Door, or Container Apps: up to "
            f"{value('container cores'):.0f} cores a replica, so the models are loaded once for "
            "them, and cheaper for a load that never rests",
        ),
    }
    visitors = count_visitors(results)
    rows = [
        (
            f"visitor {visitors + 1}",
            f"the Voila page on one dyno: {visitors} visitors fit into {DYNO_MB} MB, a second dyno "
            f"does not help, and {CONNECTIONS} sockets are the next limit",
            "serve the page without kernels: `FIELDMARK_PAGE=1`, or a static host",
        ),
        (
            "the first photo after a pause",
            f"the visitor's patience: {value('first start') + start:.0f} s until an instance runs",
            "one or more always-ready instances",
        ),
    ]
    return rows + [(rates[name], *breaks[name]) for name in sorted(limits, key=limits.__getitem__)]
