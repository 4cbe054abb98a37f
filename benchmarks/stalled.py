"""Measure the function for ordinary clients beside connections that stall.

    make .venv/everything && .venv/bin/pip install -e ".[bench]"
    python -m benchmarks.stalled [--seconds 20] [--rounds 3] [--connections 500]

Half of the connections send half of a request's headers, every second of them with a further byte
now and then; the others send a photo but for its last byte, the first eleven of them 20 MiB. Those
that the function ends are opened again ten seconds later. Two ordinary clients send small photos,
alone and beside them by turns. All share the CPUs with the function.
"""

import asyncio
import threading
from collections import Counter

import psutil
import requests
import typer

from benchmarks import client
from benchmarks.memory import measure_tree
from benchmarks.results import Save, report
from benchmarks.serve import draw_photos, run_server, wait_for_result
from benchmarks.stalling import stalled_connections

CLIENTS = 2


class Watch:
    """Statuses of /api/health, and the most memory of a process and its children, in a block."""

    def __init__(self, url: str, process: psutil.Process):
        self.url, self.process = url, process
        self.statuses, self.megabytes = Counter(), 0.0
        self.ended, self.thread = threading.Event(), threading.Thread(target=self.run)

    def run(self) -> None:
        """Look four times a second."""
        while not self.ended.wait(0.25):
            self.statuses[requests.get(self.url, timeout=60).status_code] += 1
            self.megabytes = max(self.megabytes, measure_tree(self.process))

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.thread.join()


def measure_load(url: str, process: psutil.Process, data: bytes, seconds: float) -> dict:
    """Let ordinary clients send a photo again and again, and watch health and memory."""
    posts = [client.encode_request(url, data)]
    with Watch(url.replace("classify", "health"), process) as watch:
        load = asyncio.run(client.run_clients(url, posts, CLIENTS, seconds))
    return {
        "photos a second": load.throughput,
        "p50": load.quantile(0.5),
        "p99": load.quantile(0.99),
        "slowest": load.quantile(1),
        "statuses": load.status_counts(),
        "health": dict(watch.statuses),
        "MB": watch.megabytes,
    }


def measure(
    url: str, process: psutil.Process, data: bytes, seconds: float, connections: int
) -> dict[str, dict]:
    """Measure ordinary clients alone, and then beside stalled connections."""
    measure_load(url, process, data, seconds / 10)  # to warm up
    alone = measure_load(url, process, data, seconds)
    with stalled_connections(url, connections) as ends:
        beside = measure_load(url, process, data, seconds)
    return {"alone": alone, "beside": beside | {"ends": ends}}


def main(seconds: float = 20, rounds: int = 3, connections: int = 500, save: Save = False) -> None:
    """Measure in rounds, each with a function of its own."""
    data, rows = draw_photos()["small"], []
    for number in range(1, rounds + 1):
        with run_server("this function") as (url, process):
            wait_for_result(url, (data, "image/jpeg"), process)
            for name, found in measure(url, process, data, seconds, connections).items():
                rows.append([f"{number}, {name}", *describe(found)])
    columns = ["round", "p50 / p99 / slowest in ms", "photos per second", "statuses"]
    columns += ["health", "MB of memory", "how stalled headers and bodies ended"]
    command = f"python -m benchmarks.stalled --seconds {seconds:g} --rounds {rounds}"
    report("stalled", command, columns, rows, save)


def describe(found: dict) -> list[str]:
    """Return the cells of one measurement."""
    times = " / ".join(f"{1000 * found[name]:.1f}" for name in ("p50", "p99", "slowest"))
    counts = [count_words(found[name]) for name in ("statuses", "health")]
    ends = "; ".join(count_words(counts) for counts in found.get("ends", {}).values())
    return [times, f"{found['photos a second']:.1f}", *counts, f"{found['MB']:.0f}", ends]


def count_words(counts: dict) -> str:
    """Return counts as words, like 200: 15, 503: 2."""
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counts.items(), key=str))


if __name__ == "__main__":
    typer.run(main)
