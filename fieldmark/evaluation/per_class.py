"""Tables of classes: precision and recall of each, the worst, the rarest, the most confused."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from fieldmark.evaluation.predictions import Predictions
from fieldmark.statistics import wilson_interval


def per_class_metrics(
    predictions: Predictions, train_counts: pd.Series | None = None
) -> pd.DataFrame:
    """List each class: photos (`n`), `train_photos`, `correct`, precision, recall and F1.

    `train_counts` has the number of training photos by label. The precision of a class that was
    never predicted is 0; a class without photos has no recall and no F1.
    """
    truth, classes = predictions.truth, range(len(predictions.labels))
    options: dict[str, Any] = {"labels": classes, "zero_division": 0}
    scores = precision_recall_fscore_support(truth, predictions.predicted, **options)
    precision, recall, f1, n = scores
    labels = pd.Series(predictions.labels)
    counts = pd.Series(dtype=int) if train_counts is None else train_counts
    table = pd.DataFrame(
        {
            "label": labels,
            "n": n,
            "train_photos": labels.map(counts).fillna(0).astype(int),
            "correct": np.bincount(truth[predictions.correct], minlength=len(classes)),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )
    table.loc[table["n"] == 0, ["recall", "f1"]] = np.nan
    return table


def worst_classes(classes: pd.DataFrame, count: int = 25) -> pd.DataFrame:
    """List the classes with the lowest F1."""
    return classes.dropna(subset="f1").sort_values(["f1", "recall", "label"]).head(count)


def accuracy_by_train_photos(classes: pd.DataFrame, groups: int = 3) -> pd.DataFrame:
    """Compare the accuracy on classes with few, some and many training photos.

    The groups have about equally many classes, but classes of one size stay together. Columns:
    `min_train_photos`, `max_train_photos`, `classes`, `n`, `accuracy` and its interval (`low`,
    `high`).
    """
    quantiles = np.linspace(0, 1, groups + 1)[1:-1]
    edges = np.unique(classes["train_photos"].quantile(quantiles, "lower"))
    rows = []
    for _, members in classes.groupby(np.searchsorted(edges, classes["train_photos"])):
        accuracy = wilson_interval(int(members["correct"].sum()), int(members["n"].sum()))
        rows.append(
            {
                "min_train_photos": members["train_photos"].min(),
                "max_train_photos": members["train_photos"].max(),
                "classes": len(members),
                "n": accuracy["n"],
                "accuracy": accuracy["value"],
                "low": accuracy["interval"][0],
                "high": accuracy["interval"][1],
            }
        )
    return pd.DataFrame(rows)


def most_confused(predictions: Predictions, count: int = 12) -> pd.DataFrame:
    """List the pairs of a label and a wrong prediction that occur most often (`times`)."""
    wrong = predictions.table[~predictions.correct]
    pairs = wrong.groupby(["label", "predicted"]).size().rename("times").reset_index()
    pairs = pairs.sort_values(["times", "label", "predicted"], ascending=[False, True, True])
    return pairs.head(count).reset_index(drop=True)
