"""Measure what the heat map costs: the model file as it is, and without the nodes of the map.

    python -m benchmarks.heatmap [--model birds.onnx] [--pairs 1000]

Both take the same photo in turn, and each pair of turns gives a ratio; which of the two goes first
changes from pair to pair. What is told is the median ratio, its 95 % interval by bootstrap, and n.
"""

import argparse
import platform
import time
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor
from scipy.stats import bootstrap

from birds.classifier import OUTPUTS, Classifier, drawn_photo
from birds.process import cpu_count

MODEL = Path("azure_function/model/birds.onnx")


def main() -> None:
    """Print the cost as a share of the model's time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=cpu_count())
    asked = parser.parse_args()
    classifier = Classifier(asked.model, asked.threads)
    whole = onnx.load(asked.model)
    rest = without_map(whole)
    sessions = (
        classifier.session,
        onnxruntime.InferenceSession(
            rest.SerializeToString(), classifier.session.get_session_options()
        ),
    )
    seconds = measured(sessions, drawn_photo(classifier.size)[None], asked.pairs)
    ratio = seconds[:, 0] / seconds[:, 1]
    found = bootstrap((ratio,), np.median, method="percentile", rng=0).confidence_interval
    model = f"{classifier.card['name']} {classifier.card['version']}"
    print(f"{model}, {asked.threads} threads, {platform.machine()} {platform.system()},", end=" ")
    print(f"{date.today()}:")
    dropped = len(whole.graph.node) - len(rest.graph.node)
    print(f"{np.median(seconds[:, 1]) * 1000:.2f} ms without the map's {dropped} nodes;", end=" ")
    print(f"with them {np.median(ratio) - 1:+.2%} ({found.low - 1:+.2%} to {found.high - 1:+.2%}),")
    print(f"n = {len(ratio)} pairs")


def without_map(model: onnx.ModelProto) -> onnx.ModelProto:
    """Cut the heat map, and whatever only it needs, out of a model."""
    kept = [name for name in OUTPUTS if name != "heatmap"]
    return Extractor(model).extract_model(["photo"], kept)


def measured(sessions, photo: np.ndarray, pairs: int) -> np.ndarray:
    """Return the seconds that each session takes for the photo, turn by turn, [pairs, sessions]."""
    seconds = np.zeros((pairs, len(sessions)))
    for turn in range(-20, pairs):  # the first ones warm the sessions
        for which in (0, 1) if turn % 2 else (1, 0):
            begun = time.perf_counter()
            sessions[which].run(None, {"photo": photo})
            seconds[max(turn, 0), which] = time.perf_counter() - begun
    return seconds


if __name__ == "__main__":
    main()
