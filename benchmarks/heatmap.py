"""Measure what the heat map costs: the model file as it is, and without the nodes of the map.

    python -m benchmarks.heatmap [--model birds.onnx] [--pairs 1000]

Both run the same photo in turns, and each pair of turns gives a ratio. Reported is the median ratio
with its bootstrap interval.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import typer
from onnx.utils import Extractor

from benchmarks.results import FIGURE, MODEL, Save, percent, report
from birds import process
from birds.classifier import OUTPUTS, Classifier
from birds.sessions import create_session
from fieldmark.evaluation.latency import measure_latency
from fieldmark.statistics import bootstrap_interval


def main(model: Path = MODEL / "birds.onnx", pairs: int = 1000, save: Save = False) -> None:
    """Print the additional time of the heat map."""
    classifier = Classifier(model)
    with_map = create_session(model, process.cpu_count())
    without_map = onnxruntime.InferenceSession(
        remove_heatmap(onnx.load(model)).SerializeToString(), with_map.get_session_options()
    )
    timed: Any = {  # what measure_latency needs of a Classifier
        session: SimpleNamespace(
            size=classifier.size,
            predict=lambda pixels, session=session: session.run(None, {"photo": pixels}),
        )
        for session in (with_map, without_map)
    }
    slow, fast = measure_latency(timed, pairs).values()
    figure = bootstrap_interval((slow / fast - 1,), np.median)
    rows = [["additional time of the heat map's nodes", percent(figure), f"{pairs:,} pairs"]]
    report("heatmap", "python -m benchmarks.heatmap", FIGURE, rows, save)


def remove_heatmap(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without the output `heatmap` and the nodes that only it needs."""
    kept = [name for name in OUTPUTS if name != "heatmap"]
    return Extractor(model).extract_model(["photo"], kept)


if __name__ == "__main__":
    typer.run(main)
