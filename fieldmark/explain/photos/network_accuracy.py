"""The accuracy of the network itself, for groups of species that enough photos judge."""

import numpy as np
import pandas as pd

from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain.photos.groups import MIN_TEST, group_labels
from fieldmark.statistics import accuracy_row


def tabulate_network(predictions: Predictions, names: np.ndarray) -> pd.DataFrame:
    """Return the network's accuracy for each group that at least MIN_TEST photos judge.

    `names` [C] is the group of each label. Columns: `group`, `n_test`, `accuracy`, and the Wilson
    interval `low`, `high`; the lowest accuracy first.
    """
    rows = []
    for name, labels in group_labels(names, predictions.truth).items():
        correct = predictions.correct[np.isin(predictions.truth, labels)]
        rows.append({"group": name} | accuracy_row(correct))
    table = pd.DataFrame(rows, columns=["group", "n", "accuracy", "low", "high"])
    table = table.rename(columns={"n": "n_test"})
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
