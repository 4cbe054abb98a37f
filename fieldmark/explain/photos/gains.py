"""What more photos would bring, for each family, with intervals that the past widens."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain.photos.extrapolation import (
    LEVEL,
    MIN_POINTS,
    NORMAL,
    further_photos,
    predict_gain,
    residual_scores,
    standard_error,
    validate_extrapolation,
    widening_factor,
    widening_factors,
)
from fieldmark.explain.photos.learning_curves import LearningCurves
from fieldmark.statistics import wilson_interval

MIN_TEST = 20  # photos of a group for a figure of its own
MIN_GROUPS = 19  # with fewer no widening covers 95 %: families give way to species
ALL = "all species"
COLUMNS = ["group", "species", "n_test", "photos_per_species", "accuracy", "accuracy_low"]
COLUMNS += ["accuracy_high", "more", "gain", "gain_low", "gain_high"]


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


def group_labels(names: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return the labels of each group that at least MIN_TEST photos judge.

    `names` [C] is the group of each label, "" for none; `truth` [n] are the photos' labels.
    """
    n_test = np.bincount(truth, minlength=len(names))
    groups = {name: np.flatnonzero(names == name) for name in sorted(set(names) - {""})}
    return {name: labels for name, labels in groups.items() if n_test[labels].sum() >= MIN_TEST}


def choose_groups(
    curves: LearningCurves, labels: list[str], families: np.ndarray
) -> dict[str, np.ndarray]:
    """Return families, or species where labels have no family, or all species together."""
    for groups in kinds_of_groups(curves, labels, families).values():
        return groups
    return {ALL: np.unique(curves.truth)}


def kinds_of_groups(
    curves: LearningCurves, labels: list[str], families: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Return the labels of each family and of each species with enough photos, if there are any."""
    kinds = {"families": families, "species": np.array(labels, object)}
    kinds = {kind: group_labels(names, curves.truth) for kind, names in kinds.items()}
    return {kind: groups for kind, groups in kinds.items() if groups}


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


def tabulate_gains(
    curves: LearningCurves, groups: dict[str, np.ndarray], factor: float = 1, seed: int = 0
) -> pd.DataFrame:
    """Return what photos of each species would bring each group, the largest gain first.

    Columns: COLUMNS: the accuracy with all photos, and its gain by `more` photos of each species,
    as shares of 1. The interval of
    the accuracy is that of a bootstrap over photos. That of the gain is of what would be measured
    with the photos that judge now, widened by `factor`.
    """
    if len(curves.sizes) < MIN_POINTS:
        return pd.DataFrame(columns=COLUMNS)
    weights = curves.resample(seed)
    rows = []
    for name, labels in groups.items():
        n_test = int(np.isin(curves.truth, labels).sum())
        photos = curves.photos_per_species(labels)
        measured = curves.of_group(labels, np.ones((1, len(curves.truth))))
        samples = curves.of_group(labels, weights)
        more = further_photos(photos[-1])
        gain = predict_gain(photos, measured, photos[-1], photos[-1] + more)[0]
        width = factor * NORMAL * standard_error(photos, samples, n_test)
        accuracy = measured[0, -1], *np.quantile(samples[:, -1], [0.025, 0.975])
        gains = more, gain, gain - width, gain + width
        rows.append([name, len(labels), n_test, photos[-1], *accuracy, *gains])
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("gain", ascending=False, ignore_index=True)


def describe_curves(curves: LearningCurves) -> str:
    """Return how many photos learning curves are of, and whether they are a sample."""
    n, measured = len(curves.truth), np.unique(curves.truth)
    total, repeats = curves.available[measured].sum(), len(curves.correct)
    sample = f", a sample of {total:,}," if n < total else ""
    times = "one repeat" if repeats == 1 else f"{repeats} repeats"
    return f"{n:,} photos{sample} of {len(measured)} species judge the probes, in {times}."


def describe_gains(gains: pd.DataFrame, count: int = 5) -> str:
    """Return a sentence for each of the groups with the largest gains, and what they mean."""
    if gains.empty:
        return "There are too few photos per species for a learning curve that can be extrapolated."
    lines = []
    for row in gains.head(count).itertuples():
        points = f"{100 * row.gain_low:.0f} to {100 * row.gain_high:.0f}"
        points += ": perhaps nothing" if row.gain_low <= 0 else ""
        whose = f"each species of {row.group} ({row.species}; {row.n_test} photos judge)"
        if row.species == 1:
            whose = f"{row.group} ({row.n_test} photos judge)"
        lines.append(
            f"{row.more} more photos of {whose} would bring {100 * row.gain:.1f} points "
            f"({points}), "
            f"from {100 * row.accuracy:.1f} % with {row.photos_per_species:.0f} photos of each."
        )
    lines.append(
        "These are points of a linear probe on a frozen backbone, not of the fine-tuned network, "
        "which has fewer errors left; all species get as many photos."
    )
    return "\n".join(lines)


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


def tabulate_network(predictions: Predictions, names: np.ndarray) -> pd.DataFrame:
    """Return the network's accuracy for each group that at least MIN_TEST photos judge.

    `names` [C] is the group of each label. Columns: `group`, `n_test`, `accuracy`, and the Wilson
    interval `low`, `high`; the lowest accuracy first.
    """
    rows = []
    for name, labels in group_labels(names, predictions.truth).items():
        correct = predictions.correct[np.isin(predictions.truth, labels)]
        figure = wilson_interval(int(correct.sum()), len(correct))
        rows.append([name, len(correct), figure["value"], *figure["interval"]])
    table = pd.DataFrame(rows, columns=["group", "n_test", "accuracy", "low", "high"])
    return table.sort_values("accuracy", ignore_index=True)


def describe_network(predictions: Predictions, labels: list[str], families: np.ndarray) -> str:
    """Return which groups of species have enough photos for a figure of the network itself."""
    species, groups = (
        len(tabulate_network(predictions, np.array(names, object))) for names in (labels, families)
    )
    sentence = f"{species} of {len(labels)} species"
    if known := len(set(families) - {""}):
        sentence += f" and {groups} of {known} families"
    return f"At least {MIN_TEST} of {len(predictions)} photos judge {sentence}."
