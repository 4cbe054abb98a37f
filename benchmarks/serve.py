"""Measure the function over HTTP beside the model without HTTP, and beside other servers.

    make .venv/everything && .venv/bin/pip install -e ".[bench]"
    python -m benchmarks.serve [--seconds 10] [--rounds 3] [--out runs/serve.json]

All servers get the same drawn photos, one server at a time, in rounds; reported are medians of the
rounds. The client shares the CPUs with the server. The function accepts 64 photos in flight here,
because the other servers queue without a limit.
"""

import asyncio
import base64
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import requests
import typer

from benchmarks import client
from benchmarks.memory import measure_tree
from benchmarks.results import MODEL, Save, report
from birds import drawn
from birds.finder import default_finder
from birds.identifier import Identifier
from birds.process import cpu_count
from fieldmark.files import write_json

MODEL_FILE = (MODEL / "birds.onnx").resolve()
UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level=warning", "--port"]
NO_HTTP = "model in a loop, without HTTP"
SERVERS = {
    "this function": [sys.executable, "-m", "birds.server", "--port", "{port}"],
    "FastAPI without checks or limits": [*UVICORN, "{port}", "benchmarks.peers.fastapi_app:app"],
    "fastai and FastAPI": [*UVICORN, "{port}", "benchmarks.peers.fastai_app:app"],
    "LitServe": [sys.executable, "-m", "benchmarks.peers.litserve_app", "{port}"],
}
ROUTES = {"this function": "/api/classify", "LitServe": "/predict"}
RESULTS = {"small": "serve-small", "12 megapixels": "serve-large"}
TIMEOUT = 180  # seconds


def main(
    seconds: float = 10,
    rounds: int = 3,
    clients: list[int] = [1, 2, 8, 32],  # noqa: B006
    server: list[str] = list(SERVERS),  # noqa: B006
    out: Path = Path("runs/serve.json"),
    save: Save = False,
) -> None:
    """Measure servers with some numbers of clients, `seconds` each; write all figures to `out`."""
    photos, measured = draw_photos(), {name: [] for name in (NO_HTTP, *server)}
    for _ in range(rounds):
        measured[NO_HTTP].append(measure_without_http(photos, seconds))
        for name in server:
            measured[name].append(measure_server(name, photos, clients, seconds))
    tables = {name: pd.DataFrame(rows) for name, rows in measured.items()}
    write_json(out, {name: table.median().to_dict() for name, table in tables.items()})
    command = f"python -m benchmarks.serve --seconds {seconds:g} --rounds {rounds}"
    for kind, data in photos.items():
        columns = [f"{kind}, {len(data) / 1e6:.2f} MB; p50 / p99 in ms", *map(str, clients)]
        columns[1:2] = [f"{clients[0]} client{'s' if clients[0] > 1 else ''}"]
        columns += ["photos per second (spread)", "MB of memory", "start in s"]
        rows = [describe(name, table, kind, clients) for name, table in tables.items()]
        report(RESULTS[kind], command, columns, rows, save)


def draw_photos() -> dict[str, bytes]:
    """Draw a small photo, and one of 12 megapixels with noise like a camera's."""
    large = drawn.draw_bird("Night_Inkling", 0, 500, 375).repeat(8, 0).repeat(8, 1)
    noise = np.random.default_rng(0).integers(-12, 13, large.shape, np.int16)
    noisy = (large.astype(np.int16) + noise).clip(0, 255).astype(np.uint8)
    return {
        "small": drawn.encode_photo(drawn.draw_bird("Night_Inkling", 0, 240, 240)),
        "12 megapixels": drawn.encode_photo(noisy, quality=85),
    }


def classify_repeatedly(data: bytes, threads: int, seconds: float) -> list[float]:
    """Identify the bird in the same photo again and again; return the seconds of each."""
    finder = os.environ.get("FIELDMARK_FINDER") or default_finder(MODEL_FILE)
    identifier, times = Identifier.load(MODEL_FILE, finder, threads), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        identifier.identify(identifier.prepare(data))
        times.append(time.perf_counter() - started)
    return times


def measure_without_http(photos: dict[str, bytes], seconds: float) -> dict:
    """Measure the bound of any server: a loop on all CPUs for time, one per CPU for throughput."""
    figures, cpus = {}, cpu_count()
    with multiprocessing.get_context("spawn").Pool(cpus) as pool:
        for kind, data in photos.items():
            loops = [pool.apply(classify_repeatedly, (data, n, seconds)) for n in {1, cpus}]
            fastest = min(loops, key=statistics.median)
            figures[f"{kind}, p50 of 1"] = statistics.median(fastest)
            figures[f"{kind}, p99 of 1"] = float(np.quantile(fastest, 0.99))
            loops = pool.starmap(classify_repeatedly, [(data, 1, seconds)] * cpus)
            figures[f"{kind}, per second"] = sum(map(len, loops)) / seconds
    return figures


def measure_server(
    name: str, photos: dict[str, bytes], clients: list[int], seconds: float
) -> dict[str, float]:
    """Measure the times, throughput, memory and start of a server."""
    bodies = {kind: encode_body(name, data) for kind, data in photos.items()}
    started = time.perf_counter()
    with run_server(name) as (url, process):
        wait_for_result(url, bodies["small"], process)
        figures = {"cold start": time.perf_counter() - started}
        for kind, (body, media_type) in bodies.items():
            post = client.encode_request(url, body, media_type)
            for count in (1, *clients):  # the first one warms the server
                load = asyncio.run(client.run_clients(url, [post], count, seconds))
                if set(load.seconds) != {200}:
                    raise RuntimeError(f"{name} responded with {load.status_counts()}")
                figures[f"{kind}, p50 of {count}"] = load.quantile(0.5)
                figures[f"{kind}, p99 of {count}"] = load.quantile(0.99)
                figures[f"{kind}, per second of {count}"] = load.throughput
                figures[f"{kind}, client CPUs of {count}"] = load.client_cpu / load.duration
            throughputs = [figures[f"{kind}, per second of {count}"] for count in clients]
            figures[f"{kind}, per second"] = max(throughputs)
            figures[f"{kind}, MB"] = measure_tree(process)
        return figures


@contextmanager
def run_server(
    name: str, model: Path = MODEL_FILE, in_flight: int = 64
) -> Iterator[tuple[str, psutil.Process]]:
    """Run a server until the block ends; yield the address of its route and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    settings = {"FIELDMARK_MODEL": str(model), "FIELDMARK_IN_FLIGHT": str(in_flight)}
    command = [part.format(port=port) for part in SERVERS[name]]
    process = psutil.Popen(command, env=os.environ | settings, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}{ROUTES.get(name, '/classify')}", process
    finally:
        for child in process.children(recursive=True):
            child.terminate()
        process.terminate()
        process.wait(TIMEOUT)


def encode_body(name: str, data: bytes) -> tuple[bytes, str]:
    """Encode a photo as a server expects it; return the body and its media type."""
    if name == "LitServe":
        return json.dumps({"photo": base64.b64encode(data).decode()}).encode(), "application/json"
    return data, "image/jpeg"


def wait_for_result(url: str, body: tuple[bytes, str], process: psutil.Process) -> None:
    """Send a photo until the server classifies it; raise RuntimeError after the timeout."""
    data, media_type = body
    deadline, headers = time.monotonic() + TIMEOUT, {"content-type": media_type}
    while time.monotonic() < deadline and process.status() != psutil.STATUS_ZOMBIE:
        try:
            if requests.post(url, data, headers=headers, timeout=TIMEOUT).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.01)
    raise RuntimeError(f"{url} does not respond")


def describe(name: str, table: pd.DataFrame, kind: str, clients: list[int]) -> list[str]:
    """Return a server's row of a table: medians of the rounds, and the spread of the throughput."""
    cells, figures = [name], table.median().to_dict()
    for count in clients:
        times = [figures.get(f"{kind}, p{q} of {count}") for q in (50, 99)]
        cells.append(" / ".join(f"{1000 * t:.1f}" for t in times if t is not None))
    rounds = table[f"{kind}, per second"]
    cells.append(f"{rounds.median():.1f} ({rounds.min():.1f} to {rounds.max():.1f})")
    for key, digits in ((f"{kind}, MB", 0), ("cold start", 2)):
        cells.append(f"{figures[key]:,.{digits}f}" if key in figures else "")
    return cells


if __name__ == "__main__":
    typer.run(main)
