"""Measure the function over HTTP beside its floor and beside what one would use instead.

    pip install -e ".[serve,train,bench]"
    python -m benchmarks.serve [--seconds 10] [--rounds 3] [--out runs/serve.json]

One run, the same drawn photos for all, one server at a time, in rounds; what is told is the median
of the rounds. The client shares the CPUs with the server, and its own part of them is told. The
function takes 64 photos in flight here, since its peers queue without end.
"""

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import psutil
import requests

from birds import drawn
from birds.classifier import Classifier
from birds.process import cpu_count

from . import client

MODEL = Path("azure_function/model/birds.onnx").resolve()
UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level=warning", "--port"]
SERVERS = {
    "this function": [*UVICORN, "{port}", "birds.api:app"],
    "third system's way": [*UVICORN, "{port}", "benchmarks.peers.third_system:app"],
    "fastai and FastAPI": [*UVICORN, "{port}", "benchmarks.peers.fastai_app:app"],
    "LitServe": [sys.executable, "-m", "benchmarks.peers.litserve_app", "{port}"],
}
PATHS = {"this function": "/api/classify", "LitServe": "/predict"}
PATIENCE = 180


def main() -> None:
    """Print the figures, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 2, 8, 32])
    parser.add_argument("--only", nargs="*", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--out", type=Path, default=Path("runs/serve.json"))
    asked = parser.parse_args()
    photos = drawn_photos()
    rounds = []
    for _ in range(asked.rounds):
        found = {"floor": floor(photos, asked.seconds)}
        for name in asked.only:
            found[name] = server(name, photos, asked.clients, asked.seconds)
        rounds.append(found)
    figures = median(rounds)
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(figures, indent=2) + "\n")
    tell(figures, photos, asked.clients)


def drawn_photos() -> dict[str, bytes]:
    """Draw a small photo, and one of 12 megapixels with a grain like a camera's."""
    large = drawn.draw_bird("Night_Inkling", 0, 500, 375).repeat(8, 0).repeat(8, 1).astype(np.int16)
    grain = np.random.default_rng(0).integers(-12, 13, large.shape, np.int16)
    return {
        "small": drawn.encode_photo(drawn.draw_bird("Night_Inkling", 0, 240, 240)),
        "12 megapixels": drawn.encode_photo(
            (large + grain).clip(0, 255).astype(np.uint8), quality=85
        ),
    }


def loop(data: bytes, threads: int, seconds: float) -> list[float]:
    """Prepare and predict the same photo again and again; return the seconds of each."""
    classifier, found = Classifier(MODEL, threads), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        classifier.predict(classifier.prepare_photo(data).pixels[None])
        found.append(time.perf_counter() - begun)
    return found


def floor(photos: dict[str, bytes], seconds: float) -> dict:
    """Measure what no server can beat: loops without HTTP, one on all CPUs, or one a CPU."""
    found = {}
    with multiprocessing.get_context("spawn").Pool(cpu_count()) as pool:
        for kind, data in photos.items():
            ways = [pool.apply(loop, (data, threads, seconds)) for threads in {1, cpu_count()}]
            best = min(ways, key=statistics.median)
            found[f"{kind}, p50 of 1"] = statistics.median(best)
            found[f"{kind}, p99 of 1"] = float(np.quantile(best, 0.99))
            loops = pool.starmap(loop, [(data, 1, seconds)] * cpu_count())
            found[f"{kind}, a second"] = sum(len(each) for each in loops) / seconds
    return found


def server(name: str, photos: dict[str, bytes], clients: list[int], seconds: float) -> dict:
    """Start a server, measure it, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}{PATHS.get(name, '/classify')}"
    settings = {"FIELDMARK_MODEL": str(MODEL), "FIELDMARK_IN_FLIGHT": "64"}
    command = [part.format(port=port) for part in SERVERS[name]]
    bodies = {kind: body(name, data) for kind, data in photos.items()}
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | settings, stderr=subprocess.DEVNULL)
    try:
        first_answer(url, bodies["small"], process)
        found = {"cold start": time.perf_counter() - begun}
        for kind, (data, media) in bodies.items():
            message = client.request(url, data, media)
            for count in (1, *clients):  # the first time warms it
                load = asyncio.run(client.steadily(url, [message], count, seconds))
                if set(load.seconds) != {200}:
                    raise RuntimeError(f"{name} answered {load.statuses()}")
                found[f"{kind}, p50 of {count}"] = load.quantile(0.5)
                found[f"{kind}, p99 of {count}"] = load.quantile(0.99)
                found[f"{kind}, a second, of {count}"] = load.throughput
                found[f"{kind}, the client's CPUs, of {count}"] = load.own_cpu / load.lasted
            found[f"{kind}, a second"] = max(
                found[f"{kind}, a second, of {count}"] for count in clients
            )
            family = [psutil.Process(process.pid)]
            family += family[0].children(recursive=True)
            found[f"{kind}, resident MB"] = sum(p.memory_info().rss for p in family) / 1e6
        return found
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.terminate()
        process.terminate()
        process.wait(PATIENCE)


def body(name: str, data: bytes) -> tuple[bytes, str]:
    """Pack a photo as a server wants it; return the body and its type."""
    if name == "LitServe":
        return json.dumps({"photo": base64.b64encode(data).decode()}).encode(), "application/json"
    return data, "image/jpeg"


def first_answer(url: str, packed: tuple[bytes, str], process: subprocess.Popen) -> None:
    """Ask for a photo until it is named."""
    data, media = packed
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.post(url, data, headers={"content-type": media}, timeout=PATIENCE).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.01)
    raise RuntimeError(f"{url} does not answer")


def median(rounds: list[dict]) -> dict:
    """Take the median of each figure over the rounds."""
    return {
        name: {
            key: statistics.median(found[name][key] for found in rounds) for key in rounds[0][name]
        }
        for name in rounds[0]
    }


def tell(figures: dict, photos: dict[str, bytes], clients: list[int]) -> None:
    """Print the tables, in the form of the documents."""
    print(f"{cpu_count()} CPUs, {platform.machine()} {platform.system()}, {date.today()}")
    for kind, data in photos.items():
        print(f"\n{kind}: {len(data) / 1e6:.2f} MB; p50 / p99 in milliseconds\n")
        print("| | " + " | ".join(f"{n} clients" for n in clients), end=" | ")
        print("photos a second | the client's CPUs | MB |\n|" + "---|" * (len(clients) + 4))
        for name, found in figures.items():
            cells = []
            for count in clients:
                times = [found.get(f"{kind}, p{q} of {count}") for q in (50, 99)]
                cells.append(" / ".join(f"{1000 * t:.1f}" for t in times if t) or "")
            cells.append(f"{found[f'{kind}, a second']:.1f}")
            own = found.get(f"{kind}, the client's CPUs, of {clients[-1]}")
            cells.append("" if own is None else f"{own:.2f}")
            resident = found.get(f"{kind}, resident MB")
            cells.append("" if resident is None else f"{resident:.0f}")
            print(f"| {name} | " + " | ".join(cells) + " |")
    print("\ncold start, seconds from the start of the process to the first bird named:")
    for name, found in figures.items():
        if "cold start" in found:
            print(f"  {name}: {found['cold start']:.2f}")


if __name__ == "__main__":
    main()
