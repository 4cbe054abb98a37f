"""Measure how long a visitor waits for the page, and for the result of a photo of 12 megapixels.

    pip install -e ".[serve,test]"
    python -m benchmarks.page [--visits 10]

Page, function and browser share the computer. A visit begins when a spare kernel is ready, as it is
while there is capacity. The page counts as loaded once its button is shown, and the result once its
reliability is shown.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import typer

from benchmarks.results import Save, report
from benchmarks.serve import draw_photos
from benchmarks.visitors import is_idle, kernels
from tests.browser import Visit, run_browser, run_function, run_page, wait_until

PAGE, RESULT = "until the button is shown", "from a photo of 12 megapixels to its result"


def main(visits: int = 10, save: Save = False) -> None:
    """Print medians and ranges, in seconds."""
    photo = draw_photos()["12 megapixels"]
    seconds = {PAGE: [], RESULT: []}
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
            seconds[PAGE].append(time.perf_counter() - start)
            visit.page.get_by_text("The model knows").wait_for()
            start = time.perf_counter()
            visit.pick("bird.jpg", photo)
            visit.wait_for_result()
            seconds[RESULT].append(time.perf_counter() - start)
            visit.leave()
            visit.page.context.close()
    rows = []
    for name, values in seconds.items():
        counted = values[1:]
        ends = f"{min(counted):.2f} to {max(counted):.2f}"
        rows.append([name, f"{np.median(counted):.2f}", ends, f"{visits} visits"])
    columns = ("seconds of a visitor", "median", "range", "n")
    report("page", "python -m benchmarks.page", columns, rows, save)


def is_ready(voila: psutil.Process) -> bool:
    """Tell whether a spare kernel is ready and nothing computes."""
    try:
        return bool(kernels(voila)) and is_idle(voila)
    except psutil.NoSuchProcess:  # the last visitor's kernel ended just now
        return False


if __name__ == "__main__":
    typer.run(main)
