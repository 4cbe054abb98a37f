"""Measure the throughput of a job on many photos beside its floor, and beside other loops.

    make .venv/bulk && .venv/bin/pip install -e ".[bench]"
    python -m benchmarks.bulk [--seconds 15] [--rounds 3] [--save]

The floor is decode, prepare and batched `session.run` in a loop without rows or files, with the
best of some batch sizes, in a process per CPU or in one process with all CPUs. With a finder its
loop is `identify_batch`, which runs both models in batches. A job counts from its first tables of
rows on, when its processes have started, and includes writing Parquet. The others are a fastai
Learner's `get_preds` with a DataLoader of a process per CPU, which looks at the middle square, and
requests to the function, one after the other. All take turns; given are means of the rounds.
"""

import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import requests
import typer
from PIL import Image
from scipy.stats import t

from benchmarks.results import MODEL, Save, report
from benchmarks.serve import TIMEOUT, run_server, wait_for_result
from birds import drawn
from birds.finder import default_finder
from birds.identifier import AUTO, CENTER, Identifier
from birds.process import cpu_count
from fieldmark.bulk.classify import ClassifyOptions, split_batches
from fieldmark.bulk.job import Job, describe_job
from fieldmark.bulk.local import run_local
from fieldmark.bulk.ray_engine import run_ray
from fieldmark.bulk.rows import SCHEMA

MODEL_FILE = (MODEL / "birds.onnx").resolve()
SIZES = {"small": (300, 225), "12 megapixels": (4000, 3000)}  # pixels
BATCH = 16  # photos of a table: small, so that few are under way when the time is over
COUNT = 24  # different photos of each size
MANY = 20_000  # paths of a job, which is ended before
BATCHES = (1, 8)
COLUMNS = ["photos", "looks at", "floor, photos a second", "local processes : floor"]
COLUMNS += ["Ray Data : floor", "one process : two", "fastai's get_preds : floor"]
COLUMNS += ["the function in a loop : floor"]
ROW = {"path": "cameras/1/photo.jpg", "kind": "species", "text": "A drawn bird.", "width": 4000}


def write_photos(folder: Path) -> dict[str, list[str]]:
    """Draw birds at a third of the height, small and at 12 megapixels; return the paths."""
    paths: dict[str, list[str]] = {}
    for size, (width, height) in SIZES.items():
        paths[size] = []
        for number in range(COUNT):
            scene = np.full((225, 300, 3), (120, 150, 110), np.uint8)
            species = list(drawn.SPECIES)[number % len(drawn.SPECIES)]
            left, top = 10 + 8 * number, 20 + 5 * number
            scene[top : top + 75, left : left + 75] = drawn.draw_bird(species, number, 75, 75)
            image = Image.fromarray(scene).resize((width, height))
            paths[size].append(str(folder / f"{width}-{number}.jpg"))
            image.save(paths[size][-1], quality=90)
    return paths


def run_floor(
    options: ClassifyOptions, paths: list[str], threads: int, batch: int, seconds: float
) -> float:
    """Return the photos a second of one process that only decodes, prepares and predicts."""
    identifier = Identifier.load(options.model, options.finder, threads)
    endless, started, photos = split_batches(itertools.cycle(paths), batch), 0.0, -2 * batch
    for each in endless:
        prepared = [identifier.prepare(Path(path).read_bytes(), options.where) for path in each]
        if options.finder:
            identifier.identify_batch(prepared)
        else:
            identifier.classifier.predict(np.stack([photo.pixels for photo in prepared]))
        photos += len(each)
        if photos == 0:  # two batches to warm up
            started = time.perf_counter()
        elif photos > 0 and time.perf_counter() - started > seconds:
            break
    return photos / (time.perf_counter() - started)


def measure_floor(
    options: ClassifyOptions, paths: list[str], setting: tuple[int, int], seconds: float
) -> float:
    """Return the photos a second of all CPUs with a number of processes and a batch size."""
    processes, batch = setting
    threads = cpu_count() // processes
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        call = (options, paths, threads, batch, seconds)
        return sum(pool.starmap(run_floor, [call] * processes))


def measure_job(run: Iterable[pa.Table], options: ClassifyOptions, seconds: float) -> float:
    """Return the photos a second of a job that writes its rows, from its first tables on."""
    identifier = Identifier.load(options.model, options.finder)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder) / "results", describe_job(identifier, options, []))
        tables = job.record(run)
        for _ in range(2 * cpu_count()):
            next(tables)
        started, photos, now = time.perf_counter(), 0, 0.0
        for table in tables:
            photos, now = photos + len(table), time.perf_counter()
            if now - started > seconds:
                break
        tables.close()
        if isinstance(run, Generator):
            run.close()
        job.close()
    return photos / (now - started)


def measure_get_preds(paths: list[str], seconds: float) -> float:
    """Return the photos a second of `learn.get_preds`, after a first call that warms it up."""
    os.environ.setdefault("FIELDMARK_MODEL", str(MODEL_FILE))  # which the module reads
    from benchmarks.peers import fastai_app

    learn = fastai_app.load_learner(MODEL)
    files, photos, spent = [Path(path) for path in paths], 0, 0.0
    with learn.no_bar(), learn.no_logging():
        while spent < seconds:
            many = files * 5
            loader = learn.dls.test_dl(many, bs=32, num_workers=cpu_count())
            started = time.perf_counter()
            learn.get_preds(dl=loader)
            spent += time.perf_counter() - started
            photos += len(many)
    return photos / spent


def measure_function(options: ClassifyOptions, paths: list[str], seconds: float) -> float:
    """Return the photos a second of a client that sends one photo after the other."""
    bodies = [Path(path).read_bytes() for path in paths]
    with run_server("this function") as (url, process), requests.Session() as session:
        wait_for_result(url, (bodies[0], "image/jpeg"), process)
        started = time.perf_counter()
        for photos, body in enumerate(itertools.cycle(bodies)):
            response = session.post(url, body, params={"crop": options.where}, timeout=TIMEOUT)
            response.raise_for_status()
            if (spent := time.perf_counter() - started) > seconds:
                return (photos + 1) / spent
    raise AssertionError


def measure_writer(seconds: float) -> float:
    """Return the rows a second that the one writer of a job takes over."""
    predictions = [{"label": "Drawn Bird", "probability": 0.5}] * 20
    row = dict.fromkeys(SCHEMA.names) | ROW | {"predictions": predictions}
    table, options = pa.Table.from_pylist([row] * BATCH, SCHEMA), ClassifyOptions(MODEL_FILE)
    return measure_job(itertools.repeat(table), options, seconds)


def choose_floor(options: ClassifyOptions, paths: list[str], seconds: float) -> tuple[int, int]:
    """Return the number of processes and the batch size of the fastest floor."""
    settings = list(itertools.product((cpu_count(), 1), BATCHES))
    return max(settings, key=lambda each: measure_floor(options, paths, each, seconds))


def describe(ratios: list[float]) -> str:
    """Format a mean ratio with its t interval."""
    mean = statistics.mean(ratios)
    if len(ratios) < 2:
        return f"{mean:.2f}"
    margin = t.ppf(0.975, len(ratios) - 1) * statistics.stdev(ratios) / len(ratios) ** 0.5
    return f"{mean:.2f} ({mean - margin:.2f} to {mean + margin:.2f})"


def measure_row(size: str, paths: list[str], where: str, seconds: float, rounds: int) -> list[str]:
    """Return the row of one size of photos, with the finder on or off."""
    finder = default_finder(MODEL_FILE) if where == AUTO else None
    options = ClassifyOptions(MODEL_FILE, finder, where)
    many, cpus = paths * (MANY // len(paths)), cpu_count()
    setting = choose_floor(options, paths, min(2, seconds))
    ways: dict[str, Callable[[], float]] = {
        "floor": lambda: measure_floor(options, paths, setting, seconds),
        "local": lambda: measure_job(run_local(options, many, cpus, BATCH), options, seconds),
        "ray": lambda: measure_job(run_ray(options, many, cpus, BATCH, None), options, seconds),
        "one": lambda: measure_job(run_local(options, many, 1, BATCH), options, seconds),
        "get_preds": partial(measure_get_preds, paths, seconds),
        "function": partial(measure_function, options, paths, seconds),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            rates[name].append(measure())
            typer.echo(f"{size}, {where}: {name} {rates[name][-1]:.1f} a second", err=True)

    def ratio(name: str, other: str) -> str:
        return describe([a / b for a, b in zip(rates[name], rates[other], strict=True)])

    processes, batch = setting
    best = f"{statistics.mean(rates['floor']):.1f} ({processes} processes, batches of {batch})"
    place = "the bird that the finder finds" if where == AUTO else "the middle square"
    ratios = [ratio(name, "floor") for name in ("local", "ray")]
    ratios += [ratio("one", "local")]
    ratios += [ratio(name, "floor") for name in ("get_preds", "function")]
    return [size, place, best, *ratios]


def main(seconds: float = 15, rounds: int = 3, save: Save = False) -> None:
    """Print a row for each size of photos, with the finder on and off."""
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder))
        rows = [
            measure_row(size, paths, where, seconds, rounds)
            for size, paths in photos.items()
            for where in (CENTER, AUTO)
        ]
    command = f"python -m benchmarks.bulk --seconds {seconds:g} --rounds {rounds}"
    report("bulk", command, COLUMNS, rows, save)
    writer = [["rows a second that the writer of a job takes over", f"{measure_writer(3):,.0f}"]]
    report("bulk-writer", command, ["", "value"], writer, save)


if __name__ == "__main__":
    typer.run(main)
