"""Measure how long a visitor waits for the page, and for the result of a photo of 12 megapixels.

    pip install -e ".[serve,test]"
    python -m benchmarks.page [--visits 10]

Page, function and browser share the computer. A visit begins when a spare kernel is ready, as it is
while there is capacity. The page counts as loaded once its button is shown, and the result once its
reliability is shown.
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
from benchmarks.visitors import is_idle, kernels
from tests.browser import Visit, run_browser, run_function, run_page, wait_until


def main() -> None:
    """Print medians and ranges, in seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=10)
    visits = parser.parse_args().visits
    photo = drawn_photos()["12 megapixels"]
    seconds = {"the page": [], "the result": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        run_function(Path(folder) / "function.txt") as function,
        run_page(function.url, Path(folder) / "page.txt") as page,
        run_browser() as browser,
    ):
        voila = psutil.Process(page.process.pid)
        for _ in range(1 + visits):  # the first one is a warm-up
            wait_until(lambda: is_ready(voila))
            start = time.perf_counter()
            visit = Visit(browser, page.url)
            seconds["the page"].append(time.perf_counter() - start)
            visit.page.get_by_text("The model knows").wait_for()
            start = time.perf_counter()
            visit.pick("bird.jpg", photo)
            visit.wait_for_result()
            seconds["the result"].append(time.perf_counter() - start)
            visit.leave()
            visit.page.context.close()
    machine = f"{os.cpu_count()} CPUs, {platform.machine()} {platform.system()}"
    print(f"{machine}, {date.today()}, n = {visits} visits; seconds\n")
    print("| | median | range |\n|---|---|---|")
    for name, values in seconds.items():
        measured = values[1:]
        print(
            f"| {name} | {np.median(measured):.2f} | {min(measured):.2f} to {max(measured):.2f} |"
        )


def is_ready(voila: psutil.Process) -> bool:
    """Tell whether a spare kernel is ready and nothing computes."""
    try:
        return bool(kernels(voila)) and is_idle(voila)
    except psutil.NoSuchProcess:  # the last visitor's kernel ended just now
        return False


if __name__ == "__main__":
    main()
