"""Groups of species that enough photos judge: families, or species themselves."""

import numpy as np

from fieldmark.explain.photos.learning_curves import LearningCurves

MIN_TEST = 20  # photos of a group for a figure of its own
ALL = "all species"


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
