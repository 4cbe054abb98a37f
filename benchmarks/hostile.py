"""Measure what hostile and large photos cost the function, one at a time and four at once.

    python -m benchmarks.hostile [--at-once 4] [--save]

Memory is the proportional set size of the function and its processes (Linux), sampled while a photo
is decoded, and again two seconds after it. A normal photo is sent again and again beside it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import psutil
import requests
import typer

from benchmarks.hostile_photos import HONEST, HOSTILE
from benchmarks.memory import measure_tree
from benchmarks.results import Save, report
from benchmarks.serve import draw_photos, run_server, wait_for_result

SETTLED = 2  # seconds after a photo
SAMPLING = 0.03  # seconds between two readings of the memory, which take CPU time
PAUSE = 0.1  # seconds between two normal photos
TIMEOUT = 60  # seconds
COLUMNS = ["photo", "MB", "status", "seconds", "MB of memory at peak", "at rest after"]
COLUMNS += ["slowest normal photo beside it, seconds"]


class Watcher:
    """Samples the memory of a process tree and sends normal photos until the block ends."""

    def __init__(self, url: str, process: psutil.Process, normal: bytes):
        self.url, self.process, self.normal = url, process, normal
        self.peak, self.slowest, self.ended = 0.0, 0.0, threading.Event()

    def __enter__(self) -> "Watcher":
        """Start to watch."""
        self.threads = [threading.Thread(target=each) for each in (self.sample, self.send)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        """Stop."""
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def sample(self) -> None:
        """Keep the highest memory."""
        while not self.ended.is_set():
            self.peak = max(self.peak, measure_tree(self.process))
            time.sleep(SAMPLING)

    def send(self) -> None:
        """Keep the slowest normal photo; one that is refused counts as never."""
        with requests.Session() as session:
            while not self.ended.is_set():
                started = time.perf_counter()
                response = session.post(self.url, self.normal, timeout=TIMEOUT)
                seconds = time.perf_counter() - started if response.ok else float("inf")
                self.slowest = max(self.slowest, seconds)
                time.sleep(PAUSE)


def post(url: str, data: bytes) -> tuple[int, float]:
    """Send a photo; return its status and the seconds."""
    started = time.perf_counter()
    status = requests.post(url, data, timeout=TIMEOUT).status_code
    return status, time.perf_counter() - started


def measure(
    url: str, process: psutil.Process, photos: Mapping[str, Path], normal: bytes, at_once: int
) -> Iterator[dict]:
    """Send each photo `at_once` times at the same time; yield what it costs, in COLUMNS."""
    for name, file in photos.items():
        data = file.read_bytes()
        with Watcher(url, process, normal) as watcher, ThreadPoolExecutor(at_once) as senders:
            answers = list(senders.map(post, [url] * at_once, [data] * at_once))
        time.sleep(SETTLED)
        statuses, seconds = zip(*answers, strict=True)
        values = len(data) / 1e6, sorted(set(statuses)), max(seconds), watcher.peak
        yield dict(
            zip(COLUMNS, (name, *values, measure_tree(process), watcher.slowest), strict=True)
        )


def write_photos(folder: Path, photos: Mapping[str, Callable[[], bytes]]) -> dict[str, Path]:
    """Write photos into a folder, so that this process does not hold them; return their files."""
    files = {name: folder / str(number) for number, name in enumerate(photos)}
    for name, file in files.items():
        file.write_bytes(photos[name]())
    return files


def main(
    at_once: Annotated[int, typer.Option(help="How many of each are sent at once.")] = 1,
    only: Annotated[str, typer.Option(help="Part of the names to measure.")] = "",
    save: Save = False,
) -> None:
    """Print a row for each photo."""
    normal, rows = draw_photos()["small"], []
    photos = {"a normal photo": lambda: normal} | HONEST | HOSTILE
    chosen = {name: make for name, make in photos.items() if only in name}
    with TemporaryDirectory() as folder, run_server("this function") as (url, process):
        files = write_photos(Path(folder), chosen)
        wait_for_result(url, (normal, "image/jpeg"), process)
        time.sleep(SETTLED)
        rows.append(["at rest, before", *[""] * 4, f"{measure_tree(process):.0f}", ""])
        for figures in measure(url, process, files, normal, at_once):
            name, size, statuses, seconds, peak, rest, slowest = figures.values()
            cells = [name, f"{size:.2f}", ", ".join(map(str, statuses)), f"{seconds:.2f}"]
            rows.append([*cells, f"{peak:.0f}", f"{rest:.0f}", f"{slowest:.2f}"])
            typer.echo(" | ".join(rows[-1]), err=True)
    name = "hostile" if at_once == 1 else "hostile-at-once"
    report(name, f"python -m benchmarks.hostile --at-once {at_once}", COLUMNS, rows, save)


if __name__ == "__main__":
    typer.run(main)
