"""What a model guarantees: its thresholds, and metrics of photos that other photos set them for."""

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from fieldmark.evaluation import metrics
from fieldmark.evaluation.proposals import Proposals
from fieldmark.evaluation.thresholds import Applied, cross_fit, set_thresholds
from fieldmark.evaluation.uncertainty import Uncertainty, UncertaintyOptions
from fieldmark.statistics import wilson_interval

SHARES = (0.2, 0.35, 0.55, 0.9)  # ends of the ranges of a pasted bird's share of the frame


def describe_uncertainty(
    calibration: Proposals,
    thresholds: dict,
    unfamiliar: Mapping[str, Proposals],
    fitted: Uncertainty,
    families: list[str | None],
) -> dict:
    """Return the entries of a card on its `thresholds`, measured on `calibration`.

    `families` are those of the labels. Photos without birds are searched as all others are.
    """
    as_they_are = calibration.select(np.isnan(calibration.share))
    threshold = (thresholds["unknown"] or {}).get("threshold")
    return measure_uncertainty(calibration, thresholds, families) | {
        "prediction_sets_compared": fitted.sets_compared,
        "ood_scores_compared": fitted.scores_compared,
        "ood_score_fit": {"split": "train", "photos": fitted.train_photos},
        "out_of_distribution": {
            kind: metrics.ood_metrics(as_they_are.lowest_score, photos.lowest_score, threshold)
            for kind, photos in unfamiliar.items()
        },
    }


def describe_thresholds(
    calibration: Proposals, fitted: Uncertainty, options: UncertaintyOptions
) -> dict:
    """Return the thresholds of a card, set on `calibration`; raises ValueError for other splits."""
    calibration.crops.require_split("calibration", "Setting thresholds")
    thresholds = set_thresholds(
        calibration, fitted.set_method, options.coverage, options.known_rejection_rate
    )
    if thresholds["unknown"]:
        thresholds["unknown"] = {"score": fitted.score_name} | thresholds["unknown"]
    return thresholds


def measure_uncertainty(
    proposals: Proposals, thresholds: dict, families: list[str | None]
) -> dict[str, dict]:
    """Return the entries of a card with metrics, cross-fitted: each photo by others' thresholds.

    `metrics` are those of photos as they are, `field` those of pasted ones, if there are any.
    """
    applied, share = cross_fit(proposals, thresholds), proposals.share
    whole, pasted = applied.select(np.isnan(share)), applied.select(~np.isnan(share))
    answered = whole.select(~whole.rejected)
    measured = {
        "metrics": measure_applied(whole) | {"split": "calibration"},
        "coverage_by_family": metrics.coverage_by_family(
            answered.covered, answered.chosen.truth, families
        ),
    }
    if by_subclass := metrics.accuracy_by_subclass(whole.chosen):
        measured["accuracy_by_subclass"] = by_subclass
    if len(pasted.chosen):
        parts = {
            f"{low:g} to {high:g}": applied.select((low <= share) & (share < high))
            for low, high in itertools.pairwise(SHARES)
        }
        by_share = {name: measure_answers(part) for name, part in parts.items()}
        edge = proposals.photos.get("edge", pd.Series(dtype=object))
        by_edge = {
            name: measure_answers(applied.select((edge == name).to_numpy()))
            for name in edge.dropna().unique()
        }
        measured["field"] = measure_answers(pasted) | {"by_share": by_share, "by_edge": by_edge}
    return measured


def measure_applied(applied: Applied) -> dict[str, dict]:
    """Return accuracy, calibration, prediction sets and rejections."""
    return {
        **metrics.accuracy_metrics(applied.chosen),
        **metrics.calibration_metrics(applied.chosen),
        **metrics.set_metrics(*applied[1:]),
    }


def measure_answers(applied: Applied) -> dict[str, dict]:
    """Return what a person who sends photos notices: right, refused, covered, and how honest.

    `accuracy` counts all photos, `accuracy_of_answered` those that are not called unknown.
    """
    answered, n = applied.select(~applied.rejected), len(applied.rejected)
    if not n:
        return {}
    figures = {
        "accuracy": wilson_interval(int(applied.chosen.correct.sum()), n),
        "known_rejection_rate": wilson_interval(int(applied.rejected.sum()), n),
    }
    if n > 1:
        figures["ece"] = metrics.calibration_error(applied.chosen)
    if kept := len(answered.rejected):
        right, covered = answered.chosen.correct.sum(), answered.covered.sum()
        figures["accuracy_of_answered"] = wilson_interval(int(right), kept)
        figures["coverage"] = wilson_interval(int(covered), kept)
    return figures
