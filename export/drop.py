"""The gate of a precision: how many answers the smaller file changes, and what that costs."""

from math import sqrt

import numpy as np
import pandas as pd
from scipy.stats import norm

from export.gate import TIE, GateError
from fieldmark.statistics import wilson_interval

LIMIT = 0.5  # points of accuracy
AGREEMENT = {"fp32": 1.0, "fp16": 0.99, "int8": 0.97}  # share of first answers


class DropError(GateError):
    """A file of a precision that loses too much; `report` has a row for each changed answer."""

    def __init__(self, sentence: str, report: pd.DataFrame):
        RuntimeError.__init__(self, sentence)
        self.report = report


def check(precision: str, learner: np.ndarray, file: np.ndarray, truth: np.ndarray) -> dict:
    """Return what a file of a precision loses, as `drop` does, or raise DropError.

    `learner` and `file` are the probabilities [n, C] of the same photos, of which no training photo
    should be one, and `truth` [n] the places of their labels. What decides is the drop itself: with
    a few hundred photos its interval always reaches beyond the limit.
    """
    found = drop(learner, file, truth)
    lost = found["accuracy_drop"]
    if not np.isfinite(file).all():
        refusal = f"The {precision} file gives probabilities that are no numbers."
    elif 100 * (lost["lost"] - lost["won"]) > LIMIT * lost["n"]:
        low, high = lost["interval"]
        refusal = (
            f"The {precision} file names {lost['value']:.2f} points fewer of {lost['n']} photos "
            f"right than the Learner ({low:.2f} to {high:.2f}), and {LIMIT} may be lost."
        )
    elif found["agreement"]["value"] < AGREEMENT[precision]:
        refusal = (
            f"The {precision} file gives the Learner's first answer to "
            f"{found['agreement']['value']:.2%} of {lost['n']} photos, "
            f"and {AGREEMENT[precision]:.0%} are wanted."
        )
    else:
        return found
    refusal += " No model was written."
    if precision != "fp32":
        refusal += " Set `stored: fp32`, which rounds nothing: what was learned is kept."
    raise DropError(refusal, changed(learner, file, truth))


def drop(learner: np.ndarray, file: np.ndarray, truth: np.ndarray) -> dict:
    """Measure agreement, accuracy, its drop in points, and the largest difference, with intervals.

    An answer agrees if the Learner finds it within TIE as likely as its own first.
    """
    agree = agreeing(learner, file)
    before, after = learner.argmax(1) == truth, file.argmax(1) == truth
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    return {
        "agreement": wilson_interval(int(agree.sum()), len(agree)),
        "accuracy": wilson_interval(int(after.sum()), len(after)),
        "accuracy_drop": {
            "value": round(100 * (lost - won) / len(truth), 3),
            "interval": [round(100 * end, 3) for end in paired(lost, won, len(truth))],
            "n": len(truth),
            "lost": lost,
            "won": won,
            "method": "Bonett-Price",
        },
        "largest_difference": float(np.abs(learner - file).max()),
    }


def agreeing(learner: np.ndarray, file: np.ndarray) -> np.ndarray:
    """Tell of each photo whether both give the same first answer, or the Learner sees a tie."""
    answers = file.argmax(1)[:, None]
    return learner.max(1) - np.take_along_axis(learner, answers, 1)[:, 0] <= TIE


def changed(learner: np.ndarray, file: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """List the photos whose first answer changed, by their place, and the labels by theirs."""
    report = pd.DataFrame(
        {
            "truth": truth,
            "learner": learner.argmax(1),
            "file": file.argmax(1),
            "difference": np.abs(learner - file).max(1),
        }
    ).rename_axis("photo")
    return report[~agreeing(learner, file)].sort_values("difference", ascending=False)


def paired(lost: int, won: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a difference of two shares of the same n photos.

    Adjusted Wald by Bonett and Price (2012), which has a width even where no answer changed.
    """
    first, second = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    middle = first - second
    reach = norm.ppf((1 + level) / 2) * sqrt((first + second - middle**2) / (n + 2))
    return max(-1.0, middle - reach), min(1.0, middle + reach)
