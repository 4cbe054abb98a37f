"""Thresholds of unknown birds and of prediction sets, and what they give for other photos.

A rule of thresholds in a card keeps the names that the HTTP API documents: `shortlist` is the rule
of prediction sets, `unknown` the one of out-of-distribution scores. Both hold for what is served:
for the crop that the model chooses in a photo, and for photos as they are and pasted ones.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fieldmark.evaluation import conformal
from fieldmark.evaluation.predictions import Predictions, concatenate
from fieldmark.evaluation.proposals import Proposals

FOLDS = 10


class Applied(NamedTuple):
    """Thresholds applied to n photos.

    `chosen` are the predictions for the chosen crops, `covered` [n] says whether the prediction set
    holds the truth, `size` [n] how many labels it has, `rejected` [n] whether the photo is called
    unknown.
    """

    chosen: Predictions
    covered: np.ndarray
    size: np.ndarray
    rejected: np.ndarray

    def select(self, rows: np.ndarray) -> "Applied":
        """Return the same for some photos, given a boolean mask or indices."""
        return Applied(self.chosen.select(rows), *(values[rows] for values in self[1:]))


def rejection_threshold(proposals: Proposals, known_rejection_rate: float) -> float | None:
    """Return the score over which a photo is called unknown, None where there are too few photos.

    At most `known_rejection_rate` of further photos of known birds are.
    """
    level = 1 - known_rejection_rate
    return conformal.conformal_quantile(proposals.lowest_score, level, proposals.weight)


def set_thresholds(
    proposals: Proposals, method: str, coverage: float, known_rejection_rate: float
) -> dict:
    """Return the rules `shortlist` and `unknown`, each None where there are too few photos."""
    threshold = rejection_threshold(proposals, known_rejection_rate)
    chosen, weight = proposals.choose(threshold), proposals.weight
    rule = conformal.fit_rule(chosen.probability, chosen.truth, coverage, method, weight)
    unknown = {"rejected": known_rejection_rate, "threshold": threshold}
    return {"shortlist": rule, "unknown": unknown if threshold is not None else None}


def apply_thresholds(proposals: Proposals, thresholds: dict) -> Applied:
    """Apply thresholds as in a card to photos."""
    threshold = (thresholds["unknown"] or {}).get("threshold")
    chosen = proposals.choose(threshold)
    rule = thresholds["shortlist"]
    covered, size = conformal.apply_rule(chosen.probability, chosen.truth, rule)
    rejected = chosen.ood_score > (np.inf if threshold is None else threshold)
    return Applied(chosen, covered, size, rejected)


def cross_fit(proposals: Proposals, thresholds: dict, seed: int = 0) -> Applied:
    """Apply thresholds as in a card to photos, each set on the other nine of ten folds.

    All versions of a photo are in one fold.
    """
    sets, unknown = thresholds["shortlist"], thresholds["unknown"]
    method, level = (sets["method"], sets["level"]) if sets else (conformal.LAC, 1.0)
    photos, originals = pd.factorize(proposals.originals)
    folds = (np.random.default_rng(seed).permutation(len(originals)) % FOLDS)[photos]
    parts = []
    for fold in range(FOLDS):
        held_out = folds == fold
        rejected = unknown["rejected"] if unknown else 0.0
        rules = set_thresholds(proposals.select(~held_out), method, level, rejected)
        parts.append(apply_thresholds(proposals.select(held_out), rules))
    chosen, *columns = zip(*parts, strict=True)
    applied = Applied(concatenate(chosen), *map(np.concatenate, columns))
    return applied.select(folds.argsort(kind="stable").argsort())
