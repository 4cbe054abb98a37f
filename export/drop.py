"""The drop test: how many predictions a stored model changes, and what accuracy that costs."""

import numpy as np
import pandas as pd

from export.gate import TIE
from export.quantization import MIN_AGREEMENT as INT8_MIN_AGREEMENT
from fieldmark.errors import GateError
from fieldmark.evaluation.predictions import Predictions
from fieldmark.statistics import paired_difference_interval, wilson_interval

MAX_DROP = 0.5  # percentage points of accuracy
MIN_AGREEMENT = {"fp32": 1.0, "fp16": 0.99, "int8": INT8_MIN_AGREEMENT}


def check_drop(weights_dtype: str, network: Predictions, file: Predictions) -> dict:
    """Return what a file loses, as `measure_drop` does, or raise GateError.

    `network` are the predictions before rounding, with the temperature of the file, and `file`
    those of the file, for the same photos, none of which is a training photo. The drop itself
    decides: with a few hundred photos its interval always reaches beyond the limit.
    """
    measured = measure_drop(network, file)
    drop, agreement = measured["accuracy_drop"], measured["agreement"]["value"]
    if not np.isfinite(file.probability).all():
        problem = f"The {weights_dtype} file computes probabilities that are not finite."
    elif 100 * (drop["lost"] - drop["won"]) > MAX_DROP * drop["n"]:
        low, high = drop["interval"]
        problem = (
            f"The accuracy of the {weights_dtype} file is {drop['value']:.2f} points below the "
            f"network's ({low:.2f} to {high:.2f}, {drop['n']} photos); the limit is {MAX_DROP}."
        )
    elif agreement < MIN_AGREEMENT[weights_dtype]:
        problem = (
            f"The {weights_dtype} file predicts the same species as the network for "
            f"{agreement:.2%} of {drop['n']} photos; the limit is "
            f"{MIN_AGREEMENT[weights_dtype]:.0%}."
        )
    else:
        return measured
    problem += " No model file was written."
    if weights_dtype != "fp32":
        problem += " Set `weights_dtype: fp32`, which rounds nothing; no retraining is needed."
    raise GateError(problem, list_changes(network, file))


def measure_drop(network: Predictions, file: Predictions) -> dict:
    """Measure agreement, accuracy, its drop in points, and the largest difference, with intervals.

    A prediction agrees if the network finds it within TIE as probable as its own.
    """
    agree, n = agreeing(network, file), len(file)
    lost = int((network.correct & ~file.correct).sum())
    won = int((file.correct & ~network.correct).sum())
    interval = paired_difference_interval(lost, won, n)
    return {
        "agreement": wilson_interval(int(agree.sum()), n),
        "accuracy": wilson_interval(int(file.correct.sum()), n),
        "accuracy_drop": {
            "value": round(100 * (lost - won) / n, 3),
            "interval": [round(100 * end, 3) for end in interval],
            "n": n,
            "lost": lost,
            "won": won,
            "method": "Bonett-Price",
        },
        "largest_difference": float(np.abs(network.probability - file.probability).max()),
    }


def agreeing(network: Predictions, file: Predictions) -> np.ndarray:
    """Return whether both predict the same label, or the network finds both as probable, [n]."""
    of_predicted = np.take_along_axis(network.probability, file.predicted[:, None], 1)[:, 0]
    return network.confidence - of_predicted <= TIE


def list_changes(network: Predictions, file: Predictions) -> pd.DataFrame:
    """List the photos whose prediction changed, the largest difference first."""
    names = np.array(file.labels)
    report = pd.DataFrame(
        {
            "label": names[file.truth],
            "network": names[network.predicted],
            "file": names[file.predicted],
            "difference": np.abs(network.probability - file.probability).max(1),
        },
        index=pd.Index(file.paths, name="photo"),
    )
    return report[~agreeing(network, file)].sort_values("difference", ascending=False)
