"""Measure one instance of the function as Azure runs it: one core, four photos in flight (Linux).

The server may use one core only, as an instance of 2,048 MB does; the client uses the others. Each
round starts the server anew. `benchmarks.capacity --measure` saves the results.
"""

import asyncio
import io
import math
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psutil
import typer
from PIL import Image
from scipy.stats import t

from benchmarks import client, flex_consumption
from benchmarks.memory import measure_tree
from benchmarks.results import report
from benchmarks.serve import draw_photos, run_server, wait_for_result

SERVER = "this function"
PAGE_QUERY = "?top=5&heatmap=true&crop=auto&birds=all"  # as app/browser/request.js sends it
PAGE_PHOTO = (1600, 1200)  # pixels: app/browser/photo.js shrinks a photo of 12 megapixels to these
IN_FLIGHT = flex_consumption.PHOTOS_IN_FLIGHT
OVERLOAD, FLOOD = 4, 12  # times the capacity: the soak test's load, and one of refusals
REST = 2  # seconds after which memory is measured
FIGURES = {  # a row of docs/results/capacity.json -> factor and digits
    "photos a second, 4 clients": (1, 1),
    "p50 in ms, 1 client": (1000, 1),
    "p95 in ms, 1 client": (1000, 1),
    "p50 in ms, 4 clients": (1000, 1),
    "p95 in ms, 4 clients": (1000, 1),
    "% of the core, 4 clients": (100, 0),
}
LOADED = {  # of docs/results/capacity-load.json
    "first answer, seconds after the start": (1, 2),
    "memory at rest, MB": (1, 0),
    "memory after all photos, MB": (1, 0),
    "capacity, photos a second": (1, 1),
    "sent a second": (1, 1),
    "answered a second": (1, 1),
    "% refused (503)": (100, 1),
    "p50 of the answered, ms": (1000, 1),
    "p95 of the answered, ms": (1000, 1),
    "CPU time of a refusal, ms": (1000, 2),
}


def draw_page_photo() -> bytes:
    """Draw the photo of 12 megapixels and shrink it, as the page does before it sends it."""
    image, file = Image.open(io.BytesIO(draw_photos()["12 megapixels"])), io.BytesIO()
    image.resize(PAGE_PHOTO, Image.Resampling.LANCZOS).save(file, "JPEG", quality=90)
    return file.getvalue()


def photos_by_kind() -> dict[str, tuple[bytes, str]]:
    """Return photos and the query that each is sent with."""
    photos = draw_photos()
    return {
        "small": (photos["small"], ""),
        "page": (draw_page_photo(), PAGE_QUERY),
        "12 megapixels": (photos["12 megapixels"], ""),
    }


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Restrict this process, and those that it starts in the block, to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time that a process and its descendants have used."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def measure_load(process: psutil.Process, load) -> tuple[client.Load, float]:
    """Run a load; return it and the CPU seconds of the server meanwhile."""
    before = cpu_seconds(process)
    done = asyncio.run(load)
    return done, cpu_seconds(process) - before


def measure_kind(
    url: str, process: psutil.Process, data: bytes, seconds: float
) -> dict[str, float]:
    """Return the figures of a kind of photo: with one client, and with as many as are accepted."""
    post = client.encode_request(url, data)
    asyncio.run(client.run_clients(url, [post], 1, seconds / 4))  # to warm up
    figures = {}
    for count in (1, IN_FLIGHT):
        load, cpu = measure_load(process, client.run_clients(url, [post], count, seconds))
        if set(load.seconds) != {200}:
            raise RuntimeError(f"The function responded with {load.status_counts()}.")
        clients = f"{count} client{'s' if count > 1 else ''}"
        figures |= {f"p{n} in ms, {clients}": load.quantile(n / 100) for n in (50, 95)}
        figures[f"photos a second, {clients}"] = load.throughput
        figures[f"% of the core, {clients}"] = cpu / load.duration
    return figures


def measure_overload(
    url: str, process: psutil.Process, data: bytes, seconds: float
) -> dict[str, float]:
    """Return the figures at four times the capacity, and what a refusal costs at twelve times."""
    post = client.encode_request(url, data)
    clients = client.run_clients(url, [post], IN_FLIGHT, seconds)
    full, full_cpu = measure_load(process, clients)
    rate = full.throughput
    arrivals = client.run_arrivals(url, [post], FLOOD * rate, seconds)
    flood, flood_cpu = measure_load(process, arrivals)
    # at once, so that photos do not queue again first
    over = asyncio.run(client.run_arrivals(url, [post], OVERLOAD * rate, seconds))
    of_photo = full_cpu / len(full.seconds[200])
    answered, refused = len(flood.seconds.get(200, [])), len(flood.seconds.get(503, []))
    counts = over.status_counts()
    return {
        "capacity, photos a second": rate,
        "sent a second": OVERLOAD * rate,
        "answered a second": over.throughput,
        "% refused (503)": counts.get(503, 0) / sum(counts.values()),
        "p50 of the answered, ms": over.quantile(0.5),
        "p95 of the answered, ms": over.quantile(0.95),
        "CPU time of a refusal, ms": max(0.0, flood_cpu - answered * of_photo) / max(1, refused),
    }


def measure_round(photos: Mapping[str, tuple[bytes, str]], seconds: float) -> dict[str, dict]:
    """Start an instance and measure it; the key `load` has what is not of one kind of photo."""
    *others, core = sorted(os.sched_getaffinity(0))
    small, _ = photos["small"]
    started = time.perf_counter()
    with (
        on_cores({core}),
        run_server(SERVER, in_flight=IN_FLIGHT) as (url, process),
        on_cores(set(others) or {core}),
    ):
        wait_for_result(url, (small, "image/jpeg"), process)
        load = {"first answer, seconds after the start": time.perf_counter() - started}
        time.sleep(REST)
        load["memory at rest, MB"] = measure_tree(process)
        figures = {
            kind: measure_kind(url + query, process, data, seconds)
            for kind, (data, query) in photos.items()
        }
        load |= measure_overload(url, process, small, seconds)
        load["memory after all photos, MB"] = measure_tree(process)
    return figures | {"load": load}


def describe(values: Sequence[float], factor: float, digits: int) -> str:
    """Format the mean of the rounds and its 95 % interval (Student's t)."""
    mean, ends = factor * statistics.fmean(values), ""
    if len(values) > 1:
        deviation = factor * statistics.stdev(values) / math.sqrt(len(values))
        margin = float(t.ppf(0.975, len(values) - 1)) * deviation
        ends = f" ({max(0, mean - margin):.{digits}f} to {mean + margin:.{digits}f})"
    return f"{mean:.{digits}f}{ends}"


def measure(rounds: int, seconds: float, save: bool) -> None:
    """Measure some rounds; print the two results, and save them if wanted."""
    photos, measured = photos_by_kind(), []
    for number in range(rounds):
        measured.append(measure_round(photos, seconds))
        typer.echo(f"round {number + 1} of {rounds}: {measured[-1]['page']}")
    command = f"python -m benchmarks.capacity --measure --rounds {rounds} --seconds {seconds:g}"
    title = f"1 core, {IN_FLIGHT} photos in flight; mean of {rounds} rounds (95 % interval)"
    names = [f"{kind}, {len(data) / 1e6:.2f} MB" for kind, (data, _) in photos.items()]
    rows = [
        [name, *(describe([r[kind][name] for r in measured], *form) for kind in photos)]
        for name, form in FIGURES.items()
    ]
    report("capacity", command, [title, *names], rows, save)
    rows = [
        [name, describe([r["load"][name] for r in measured], *form)]
        for name, form in LOADED.items()
    ]
    title = f"the same instance, small photos; mean of {rounds} rounds (95 % interval)"
    report("capacity-load", command, [title, "value"], rows, save)
