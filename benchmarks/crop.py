"""Measure what it costs to look for the bird: `crop=auto` against `crop=center`.

    python -m benchmarks.crop [--count 100] [--photo small.jpg] [--save]

The model decides by a photo's score whether one look is enough. Here two copies of its file decide
beforehand: the threshold of one is never exceeded, that of the other always. Requests for both
crops take turns; the same steps without HTTP follow, in one process. Then a function starts anew:
the time until its first answer, and the memory of its processes when it rests again.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import onnx
import requests
import typer

from benchmarks.memory import measure_tree
from benchmarks.results import Save, report
from benchmarks.serve import MODEL_FILE, TIMEOUT, run_server, wait_for_result
from birds import drawn
from birds.finder import default_finder
from birds.identifier import Identifier
from fieldmark.errors import UserError

THRESHOLDS = {"one look": 1e9, "further looks": -1e9}  # of the unknown score
CROPS = ("center", "auto")
REST = 3  # seconds after which memory is measured
COLUMNS = ["photo", "looks", "center, p50 in ms", "auto, p50 in ms", "auto : center"]
COLUMNS += ["auto without HTTP, p50 in ms"]


def draw_scenes() -> dict[str, bytes]:
    """Draw two birds at a third of the height, off the centre, small and at 12 megapixels."""
    scene = np.full((500, 667, 3), (120, 150, 110), np.uint8)
    for left, top in ((90, 60), (430, 260)):  # as likely, so that both may be looked at
        scene[top : top + 160, left : left + 160] = drawn.draw_bird("Night_Inkling", 0, 160, 160)
    large = scene.repeat(6, 0).repeat(6, 1)
    noise = np.random.default_rng(0).integers(-12, 13, large.shape, np.int16)
    large = (large + noise).clip(0, 255).astype(np.uint8)
    return {"small": drawn.encode_photo(scene), "12 megapixels": drawn.encode_photo(large)}


def write_model(path: Path, threshold: float) -> Path:
    """Write a copy of the model file with another threshold of unknown birds."""
    proto = onnx.load(MODEL_FILE)
    entry = next(entry for entry in proto.metadata_props if entry.key == "card")
    card = json.loads(entry.value)
    card["thresholds"] = (card["thresholds"] or {}) | {"unknown": {"threshold": threshold}}
    entry.value = json.dumps(card)
    onnx.save(proto, path)
    return path


def measure(calls: Mapping[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Call functions in turns; return the median milliseconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def measure_server(model: Path, photos: dict[str, bytes], count: int) -> dict[str, dict]:
    """Return the milliseconds of both crops of each photo over HTTP."""
    figures = {}
    with run_server("this function", model) as (url, process), requests.Session() as session:
        wait_for_result(url, (next(iter(photos.values())), "image/jpeg"), process)

        def post(crop: str, data: bytes) -> None:
            response = session.post(url, data, params={"crop": crop}, timeout=TIMEOUT)
            response.raise_for_status()

        for name, data in photos.items():
            calls = {crop: lambda crop=crop, data=data: post(crop, data) for crop in CROPS}
            measure(calls, min(count, 5))  # to warm up
            figures[name] = measure(calls, count)
    return figures


def measure_rows(model: Path, photos: dict[str, bytes], count: int) -> Iterator[list[str]]:
    """Yield the row of each photo for one model file."""
    served, finder = measure_server(model, photos, count), default_finder(MODEL_FILE)
    identifier = Identifier.load(model, os.environ.get("FIELDMARK_FINDER") or finder)
    for name, data in photos.items():

        def identify(data: bytes = data) -> int:
            return identifier.identify(identifier.prepare(data)).looks

        looks = identify()
        alone = measure({name: identify}, count)[name]
        center, auto = (served[name][crop] for crop in CROPS)
        cells = [f"{value:.1f}" for value in (center, auto)]
        yield [name, str(looks), *cells, f"{auto / center:.2f}", f"{alone:.1f}"]


def measure_start(photo: bytes, finder: Path) -> Iterator[list[str]]:
    """Yield start, memory and size of a function with both published model files."""
    sizes = MODEL_FILE.stat().st_size + finder.stat().st_size
    started = time.perf_counter()
    with run_server("this function") as (url, process):
        wait_for_result(url, (photo, "image/jpeg"), process)
        yield ["first answer, seconds after the start", f"{time.perf_counter() - started:.2f}"]
        time.sleep(REST)
        yield ["memory at rest, MB (PSS of all processes)", f"{measure_tree(process):,.0f}"]
    yield ["both model files, MB", f"{sizes / 1e6:.1f}"]


def main(
    count: Annotated[int, typer.Option(help="Photos of each kind.")] = 100,
    photo: Annotated[Path | None, typer.Option(help="Small photo, instead of a drawn one.")] = None,
    save: Save = False,
) -> None:
    """Print a row for each photo and number of looks."""
    finder = os.environ.get("FIELDMARK_FINDER") or default_finder(MODEL_FILE)
    if not finder:
        raise UserError("There is no finder. Set FIELDMARK_FINDER to its model file.")
    photos, rows = draw_scenes(), []
    if photo:
        photos["small"] = photo.read_bytes()
    with TemporaryDirectory() as folder:
        for name, threshold in THRESHOLDS.items():
            model = write_model(Path(folder) / f"{name}.onnx", threshold)
            rows += measure_rows(model, photos, count)
    command = f"python -m benchmarks.crop --count {count}"
    report("crop", command, COLUMNS, rows, save)
    start = list(measure_start(photos["small"], Path(finder)))
    report("crop-start", command, ["a function that looks for birds", "value"], start, save)


if __name__ == "__main__":
    typer.run(main)
