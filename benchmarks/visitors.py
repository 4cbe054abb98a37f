"""Measure the memory that the page takes for each visitor with a photo in a real browser.

    make .venv/everything
    python -m benchmarks.visitors [--visitors 4] [--limit 512]

Memory is the proportional set size (PSS): memory shared by processes counts once, as on a dyno.
Function and browser run beside the page and are not counted. Linux only.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import typer

from benchmarks.memory import measure_memory
from benchmarks.results import Save, report
from benchmarks.serve import draw_photos
from tests.browser import Visit, run_browser, run_function, run_page, wait_until


def main(visitors: int = 4, limit: float = 512, save: Save = False) -> None:
    """Print the memory of Voila and of visitors, and how many visitors fit into `limit` MB."""
    photo = draw_photos()["12 megapixels"]
    megabytes = measure(visitors, photo)
    rows = [[name, f"{value:.0f}"] for name, value in megabytes.items()]
    title = f"memory (PSS), {visitors} visitors, a photo of {len(photo) / 1e6:.1f} MB each"
    report("visitors", "python -m benchmarks.visitors", (title, "MB"), rows, save)
    each = megabytes["a visitor after the photo"] + megabytes["peak while a photo is classified"]
    capacity = int((limit - megabytes["Voila at the end"]) // each)
    typer.echo(f"Visitors that fit into {limit:.0f} MB while all send a photo: {capacity}")


@contextmanager
def run_servers(**settings: str) -> Iterator[tuple[psutil.Process, str, Any]]:
    """Serve the page and the function; yield Voila's process, the page's address and a browser."""
    with (
        tempfile.TemporaryDirectory() as folder,
        run_function(Path(folder) / "function.txt") as function,
        run_page(function.url, Path(folder) / "page.txt", **settings) as page,
        run_browser() as browser,
    ):
        yield psutil.Process(page.process.pid), page.url, browser


def measure(visitors: int, photo: bytes) -> dict[str, float]:
    """Visit the page with several browsers and return megabytes by what takes them."""
    with run_servers(FIELDMARK_VISITORS=str(visitors)) as (voila, url, browser):
        wait_until(lambda: len(kernels(voila)) == 1 and is_idle(voila))
        megabytes = {"Voila at the start": measure_memory([voila])}
        megabytes["a spare kernel"] = measure_memory(kernels(voila))
        visits = [Visit(browser, url) for _ in range(visitors)]
        wait_until(lambda: len(kernels(voila)) == visitors and is_idle(voila))
        megabytes["a visitor before a photo"] = measure_memory(kernels(voila)) / visitors
        peaks = [pick_and_measure_peak(visit, photo, voila) for visit in visits]
        wait_until(lambda: is_idle(voila))
        megabytes["a visitor after the photo"] = measure_memory(kernels(voila)) / visitors
        megabytes["Voila at the end"] = measure_memory([voila])
        megabytes[f"Voila and {visitors} visitors"] = measure_memory([voila, *kernels(voila)])
        megabytes["peak while a photo is classified"] = max(peaks)
        for visit in visits:
            visit.leave()
        return megabytes


def kernels(voila: psutil.Process) -> list[psutil.Process]:
    """Return the kernels that Voila runs."""
    return [child for child in voila.children() if "ipykernel_launcher" in child.cmdline()]


def is_idle(voila: psutil.Process) -> bool:
    """Return whether neither Voila nor a kernel computes."""
    return all(process.cpu_percent(0.5) < 5 for process in [voila, *kernels(voila)])


def pick_and_measure_peak(visit: Visit, photo: bytes, voila: psutil.Process) -> float:
    """Pick a photo; return the megabytes by which the page's memory rose at most."""
    start, samples, finished = measure_memory([voila, *kernels(voila)]), [0.0], threading.Event()

    def sample():
        while not finished.is_set():
            samples.append(measure_memory([voila, *kernels(voila)]))
            time.sleep(0.02)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        visit.pick("bird.jpg", photo)
        visit.wait_for_result()
    finally:
        finished.set()
        sampler.join()
    return max(samples) - start


if __name__ == "__main__":
    typer.run(main)
