"""Measure what a visitor waits for: the page, and the answer to a photo of 12 megapixels.

    pip install -e ".[serve,test]"
    python -m benchmarks.page [--visits 10]

Page, function and browser share the computer. A visit begins when a kernel is ready, as one is
while there are places. The page counts as there once its button can be pressed, and the answer once
its bars are shown.
"""

import argparse
import os
import platform
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import psutil

from benchmarks.serve import drawn_photos
from benchmarks.visitors import asleep, kernels
from tests.browser import Visit, chromium, eventually, served_function, served_page


def main() -> None:
    """Print medians and ranges, in seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=10)
    asked = parser.parse_args()
    photo = drawn_photos()["12 megapixels"]
    found = {"the page": [], "the answer": []}
    with (
        tempfile.TemporaryDirectory() as name,
        served_function(Path(name) / "function.txt") as function,
        served_page(function, Path(name) / "page.txt") as url,
        chromium() as browser,
    ):
        voila = next(p for p in psutil.Process().children() if "front" in p.cmdline())
        for _ in range(1 + asked.visits):  # the first one warms all
            eventually(lambda: ready(voila))
            begun = time.perf_counter()
            visit = Visit(browser, url)
            found["the page"].append(time.perf_counter() - begun)
            visit.page.locator(".hint", has_text="It knows").wait_for()
            begun = time.perf_counter()
            visit.pick("bird.jpg", photo)
            visit.page.locator(".bars").wait_for()
            found["the answer"].append(time.perf_counter() - begun)
            visit.leave()
            visit.page.context.close()
    print(
        f"{os.cpu_count()} CPUs, {platform.machine()} {platform.system()}, {date.today()}, ", end=""
    )
    print(f"n = {asked.visits} visits; seconds\n\n| | median | least to most |\n|---|---|---|")
    for name, times in found.items():
        times = times[1:]
        print(f"| {name} | {np.median(times):.2f} | {min(times):.2f} to {max(times):.2f} |")


def ready(voila: psutil.Process) -> bool:
    """Tell whether a kernel waits, and nothing computes."""
    try:
        return bool(kernels(voila)) and asleep(voila)
    except psutil.NoSuchProcess:  # the last visitor's ended just now
        return False


if __name__ == "__main__":
    main()
