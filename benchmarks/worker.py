"""Measure what the worker process adds to a lone photo: prepared there, or in the function itself.

    python -m benchmarks.worker [--rounds 5] [--save]

Both alternate in one process; a photo is prepared and classified as the function does.
"""

import statistics
import time
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import Save, report
from benchmarks.serve import MODEL_FILE, draw_photos
from birds import photo
from birds.classifier import Classifier
from birds.identifier import Identifier
from birds.workers.decoder import Decoded, Decoder

COUNTS = {"small": 200, "12 megapixels": 40}  # photos of each way in a round
COLUMNS = ["lone photo", "in the function, p50 in ms", "in a worker, p50 in ms", "added, ms"]


def measure(classifier: Classifier, decoder: Decoder, data: bytes, count: int) -> np.ndarray:
    """Return the seconds of `count` photos prepared here and in a worker in turns, [2, count]."""

    def prepare_here() -> Decoded:
        return Decoded(photo.prepare_photo(data, classifier.size, classifier.filter), 0.0)

    def prepare_in_worker() -> Decoded:
        return Identifier(classifier).prepare_in_worker(decoder, data).result()

    seconds = np.empty((2, count))
    for turn in range(count):
        for way, prepare in enumerate((prepare_here, prepare_in_worker)):
            started = time.perf_counter()
            classifier.predict(prepare().value.pixels[None])
            seconds[way, turn] = time.perf_counter() - started
    return seconds


def main(
    rounds: Annotated[int, typer.Option(help="Rounds, whose spread is reported.")] = 5,
    save: Save = False,
) -> None:
    """Print a row for each kind of photo."""
    classifier, decoder, rows = Classifier(MODEL_FILE), Decoder(3), []
    for kind, data in draw_photos().items():
        measure(classifier, decoder, data, 10)  # to warm up
        medians = np.array(
            [np.median(measure(classifier, decoder, data, COUNTS[kind]), 1) for _ in range(rounds)]
        )
        here, worker = 1000 * np.median(medians, 0)
        added = [1000 * float(each) for each in medians[:, 1] - medians[:, 0]]
        cell = f"{statistics.median(added):.2f} ({min(added):.2f} to {max(added):.2f})"
        rows.append([kind, f"{here:.2f}", f"{worker:.2f}", cell])
    decoder.close()
    report("worker", f"python -m benchmarks.worker --rounds {rounds}", COLUMNS, rows, save)


if __name__ == "__main__":
    typer.run(main)
