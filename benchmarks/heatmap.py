"""Measure what the heat map costs: the model file as it is, and without the nodes of the map.

    python -m benchmarks.heatmap [--model birds.onnx] [--pairs 1000]

Both run the same photo in turns, and each pair of turns gives a ratio; which of the two goes first
alternates. Reported is the median ratio with its bootstrap interval.
"""

import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import typer
from onnx.utils import Extractor

from benchmarks.results import FIGURE, Save, percent, report
from birds.classifier import OUTPUTS, Classifier, drawn_photo
from birds.process import cpu_count
from fieldmark.statistics import bootstrap_interval

MODEL = Path("azure_function/model/birds.onnx")
WARM_UP = 20  # pairs that are not counted


def main(
    model: Path = MODEL, pairs: int = 1000, threads: int = cpu_count(), save: Save = False
) -> None:
    """Print the additional time of the heat map."""
    classifier = Classifier(model, threads)
    with_map = classifier.session
    without_map = onnxruntime.InferenceSession(
        remove_heatmap(onnx.load(model)).SerializeToString(), with_map.get_session_options()
    )
    seconds = time_in_turns((with_map, without_map), drawn_photo(classifier.size)[None], pairs)
    figure = bootstrap_interval((seconds[:, 0] / seconds[:, 1] - 1,), np.median)
    rows = [["additional time of the heat map's nodes", percent(figure), f"{pairs:,} pairs"]]
    report("heatmap", "python -m benchmarks.heatmap", FIGURE, rows, save)


def remove_heatmap(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without the output `heatmap` and the nodes that only it needs."""
    kept = [name for name in OUTPUTS if name != "heatmap"]
    return Extractor(model).extract_model(["photo"], kept)


def time_in_turns(sessions, photo: np.ndarray, pairs: int) -> np.ndarray:
    """Return the seconds that each session takes for the photo, [pairs, sessions]."""
    seconds = np.zeros((pairs, len(sessions)))
    for pair in range(-WARM_UP, pairs):
        for index in (0, 1) if pair % 2 else (1, 0):
            started = time.perf_counter()
            sessions[index].run(None, {"photo": photo})
            seconds[max(pair, 0), index] = time.perf_counter() - started
    return seconds


if __name__ == "__main__":
    typer.run(main)
