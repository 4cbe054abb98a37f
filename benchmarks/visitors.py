"""Measure the memory of the page, visitor by visitor, each with a photo in a real browser.

    pip install -e ".[serve,test]"
    python -m benchmarks.visitors [--visitors 4] [--limit 512]

What is told is the proportional set size (PSS): memory that processes share is counted once, as a
dyno counts it. Function and browser run beside the page and are not counted. Linux only.
"""

import argparse
import os
import platform
import statistics
import tempfile
import threading
import time
from datetime import date
from pathlib import Path

import psutil

from benchmarks.serve import drawn_photos
from tests.browser import Visit, chromium, eventually, served_function, served_page

MB = 1e6


def main() -> None:
    """Print what Voila and each visitor take, and how many visitors a dyno holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, default=4)
    parser.add_argument("--limit", type=float, default=512, help="MB of a dyno")
    asked = parser.parse_args()
    photo = drawn_photos()["12 megapixels"]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked.visitors, photo, Path(folder))
    cpus = os.cpu_count()
    print(f"{cpus} CPUs, {platform.machine()} {platform.system()}, {date.today()}, ", end="")
    print(f"n = {asked.visitors} visitors, each with a photo of {len(photo) / MB:.1f} MB; PSS\n")
    print("| | MB |\n|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value:.0f} |")
    each = found["a visitor after the photo"] + found["more while a photo is answered"]
    fit = int((asked.limit - found["Voila after all"]) // each)
    print(f"\nvisitors that {asked.limit:.0f} MB hold while all of them send a photo: {fit}")


def measure(visitors: int, photo: bytes, folder: Path) -> dict[str, float]:
    """Let visitors come one after the other; return megabytes by what takes them."""
    with (
        served_function(folder / "function.txt") as function,
        served_page(function, folder / "page.txt", FIELDMARK_VISITORS=str(visitors)) as url,
        chromium() as browser,
    ):
        voila = next(p for p in psutil.Process().children() if "front" in p.cmdline())
        eventually(lambda: len(kernels(voila)) == 1 and asleep(voila))
        found = {"Voila before anybody came": taken([voila])}
        found["a kernel that is ready"] = taken(kernels(voila))
        visits = [Visit(browser, url) for _ in range(visitors)]
        eventually(lambda: len(kernels(voila)) == visitors and asleep(voila))
        found["a visitor before a photo"] = median(kernels(voila))
        more = [pick(visit, photo, voila) for visit in visits]
        eventually(lambda: asleep(voila))
        found["a visitor after the photo"] = median(kernels(voila))
        found["Voila after all"] = taken([voila])
        found["all of it"] = taken([voila, *kernels(voila)])
        found["more while a photo is answered"] = max(more)
        for visit in visits:
            visit.leave()
        return found


def kernels(voila: psutil.Process) -> list[psutil.Process]:
    """Return the kernels that Voila runs."""
    return [child for child in voila.children() if "ipykernel_launcher" in child.cmdline()]


def asleep(voila: psutil.Process) -> bool:
    """Tell whether neither Voila nor a kernel computes."""
    return all(process.cpu_percent(0.5) < 5 for process in [voila, *kernels(voila)])


def taken(processes: list[psutil.Process]) -> float:
    """Return the megabytes that processes take together."""
    return sum(process.memory_full_info().pss for process in processes) / MB


def median(processes: list[psutil.Process]) -> float:
    """Return the megabytes that one of them takes."""
    return statistics.median(taken([process]) for process in processes)


def pick(visit: Visit, photo: bytes, voila: psutil.Process) -> float:
    """Pick a photo; return the megabytes that the page took above what it took before."""
    before, most, over = taken([voila, *kernels(voila)]), [0.0], threading.Event()

    def watch():
        while not over.is_set():
            most.append(taken([voila, *kernels(voila)]))
            time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        visit.pick("bird.jpg", photo)
        visit.page.locator(".bars").wait_for()
    finally:
        over.set()
        watching.join()
    return max(most) - before


if __name__ == "__main__":
    main()
