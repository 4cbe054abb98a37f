"""Test how well learning curves of half of the photos predict what the others brought."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fieldmark.explain.photos.extrapolation import (
    LEVEL,
    residual_scores,
    validate_extrapolation,
    widening_factor,
    widening_factors,
)
from fieldmark.explain.photos.groups import kinds_of_groups
from fieldmark.explain.photos.learning_curves import LearningCurves

MIN_GROUPS = 19  # with fewer no widening covers 95 %: families give way to species


class Validation(NamedTuple):
    """How well half of the photos predicted the gain that the others brought.

    `groups` is the table of `validate_extrapolation`, of families or species. `covered` of them
    have a measured gain in the bootstrap interval of the predicted one. `covered_widened` have it
    in the interval that is published: that of the difference, widened as the other groups require;
    `factor` is what all of them require. `bias` and `mean_error` are those of the predicted
    accuracy: the mean difference, and the mean absolute one. `kind` of `groups` is families or
    species, and `published` is that of the groups for which gains are published.
    """

    groups: pd.DataFrame
    kind: str
    published: str
    covered: int
    covered_widened: int
    factor: float
    bias: float
    mean_error: float

    @property
    def coverage(self) -> float:
        """Return the highest coverage that the factor can promise: n / (n + 1) of n groups."""
        return len(self.groups) / (len(self.groups) + 1)


def validate(curves: LearningCurves, labels: list[str], families: np.ndarray) -> Validation | None:
    """Return how well curves can be extrapolated; None if there are too few points or photos.

    The groups are families, or species where there are fewer than MIN_GROUPS families and more
    species.
    """
    kinds = kinds_of_groups(curves, labels, families)
    if not kinds or not len(curves.sizes):
        return None
    published, kind = next(iter(kinds)), max(kinds, key=lambda kind: len(kinds[kind]))
    if len(kinds[published]) >= MIN_GROUPS:
        kind = published
    table = validate_extrapolation(curves, kinds[kind])
    if len(table) < 2:
        return None
    scores = residual_scores(table)
    difference = table["accuracy_predicted"] - table["accuracy_measured"]
    return Validation(
        table,
        kind,
        published,
        int((residual_scores(table, "bootstrap_error") <= 1).sum()),
        int((scores <= widening_factors(scores)).sum()),
        widening_factor(scores),
        float(difference.mean()),
        float(difference.abs().mean()),
    )


def describe_validation(validation: Validation | None) -> str:
    """Return how far the extrapolation can be trusted."""
    if not validation:
        return "There are too few photos to test the extrapolation: its intervals are a guess."
    n, kind = len(validation.groups), validation.kind
    limits = ""
    if kind != validation.published:
        limits = (
            f" The factor is that of {kind}, because there are fewer than {MIN_GROUPS} "
            f"{validation.published}; that these need the same one is a guess."
        )
    if validation.coverage < LEVEL:
        limits += (
            f" The errors of {n} {kind} can promise a coverage of "
            f"{100 * validation.coverage:.0f} % at most, not of {100 * LEVEL:.0f} %."
        )
    half, photos = validation.groups[["half", "photos"]].mean()
    return (
        f"Test: curves up to {half:.0f} photos per species predicted the accuracy with "
        f"{photos:.0f}, for {n} {kind}. It was wrong by {100 * validation.mean_error:.1f} points "
        f"on average (bias {100 * validation.bias:+.1f}). The bootstrap interval of the gain "
        f"contained what was measured for only {validation.covered} of {n}. So the intervals below "
        f"also hold the chance of the photos that judge, and are widened {validation.factor:.2f} "
        f"times; widened by the other groups they contained {validation.covered_widened} of {n}."
        f"{limits}"
    )
