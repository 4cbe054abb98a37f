"""Measure how long a visitor waits for the page, and for the result of a photo of 12 megapixels.

    make .venv/everything
    python -m benchmarks.page [--visits 10]

Page, function and browser share the computer. A visit begins when a spare kernel is ready, as it is
while there is capacity. The page counts as loaded once its button is shown, and the result once its
reliability is shown.
"""

import time

import numpy as np
import psutil
import typer

from benchmarks.results import Save, report
from benchmarks.serve import draw_photos
from benchmarks.visitors import is_idle, kernels, run_servers
from tests.browser import Visit, wait_until

TITLES = ("until the button is shown", "from a photo of 12 megapixels to its result")


def main(visits: int = 10, save: Save = False) -> None:
    """Print medians and ranges, in seconds."""
    photo, rows = draw_photos()["12 megapixels"], []
    with run_servers() as (voila, url, browser):
        measure_visit(voila, url, browser, photo)  # a warm-up
        seconds = [measure_visit(voila, url, browser, photo) for _ in range(visits)]
    for title, values in zip(TITLES, np.array(seconds).T, strict=True):
        ends = f"{min(values):.2f} to {max(values):.2f}"
        rows.append([title, f"{np.median(values):.2f}", ends, f"{visits} visits"])
    columns = ("seconds of a visitor", "median", "range", "n")
    report("page", "python -m benchmarks.page", columns, rows, save)


def measure_visit(voila: psutil.Process, url: str, browser, photo: bytes) -> tuple[float, float]:
    """Visit the page with a photo; return the seconds of TITLES."""
    wait_until(lambda: is_ready(voila))
    start = time.perf_counter()
    visit = Visit(browser, url)
    loaded = time.perf_counter() - start
    visit.page.get_by_text("The model knows").wait_for()
    start = time.perf_counter()
    visit.pick("bird.jpg", photo)
    visit.wait_for_result()
    seconds = loaded, time.perf_counter() - start
    visit.leave()
    visit.page.context.close()
    return seconds


def is_ready(voila: psutil.Process) -> bool:
    """Return whether a spare kernel is ready and nothing computes."""
    try:
        return bool(kernels(voila)) and is_idle(voila)
    except psutil.NoSuchProcess:  # the last visitor's kernel ended just now
        return False


if __name__ == "__main__":
    typer.run(main)
