"""The pairs of species that a model confuses most, whether or not an answer was wrong."""

import numpy as np
import pandas as pd

from fieldmark.evaluation.predictions import Predictions

DIGITS = 6  # of probability masses: smaller differences are rounding errors, and so ties
COLUMNS = ["label", "other", "mass", "label_as_other", "other_as_label", "n_label", "n_other"]


def rank_confused_pairs(predictions: Predictions, count: int) -> pd.DataFrame:
    """List the pairs of labels that a model confuses most, by the probability of the wrong one.

    Columns: `label` and `other` in the order of the labels; `mass`, the probability of the other
    label summed over the photos of both, in photos; `label_as_other` and `other_as_label`, the
    wrong answers in each direction; `n_label` and `n_other`, the photos that judge. Few photos
    give few wrong answers, but each gives a probability: pairs without a wrong answer are ranked
    too. Pairs of equal mass stay in the order of the labels.
    """
    labels, classes = np.array(predictions.labels, object), len(predictions.labels)
    known = predictions.select(predictions.truth >= 0)
    mass, answers = np.zeros((classes, classes)), np.zeros((classes, classes), int)
    np.add.at(mass, known.truth, known.probability)
    np.add.at(answers, (known.truth, known.predicted), 1)
    first, second = np.triu_indices(classes, 1)
    both = (mass + mass.T)[first, second].round(DIGITS)
    order = np.argsort(-both, kind="stable")[:count]
    first, second, photos = first[order], second[order], answers.sum(1)
    columns = [
        *(labels[first], labels[second], both[order]),
        *(answers[first, second], answers[second, first], photos[first], photos[second]),
    ]
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def compare_sources(pairs: pd.DataFrame, predictions: Predictions, source: str) -> pd.DataFrame:
    """Add what another model's `predictions` say of the same pairs: `mass`, `rank` and `n`.

    The columns are named after the `source`, since its photos and its model are others.
    """
    classes = len(predictions.labels)
    ranked = rank_confused_pairs(predictions, classes * (classes - 1) // 2)
    ranked = ranked.assign(
        **{f"{source}: mass": ranked["mass"], f"{source}: rank": np.arange(1, len(ranked) + 1)}
    )
    ranked[f"{source}: n"] = ranked["n_label"] + ranked["n_other"]
    added = ["label", "other", *ranked.columns[len(COLUMNS) :]]
    return pairs.merge(ranked[added], on=["label", "other"], how="left")


def describe_pair(pair: pd.Series) -> str:
    """Return a sentence about a row of `rank_confused_pairs`."""
    n, wrong = pair["n_label"] + pair["n_other"], pair["label_as_other"] + pair["other_as_label"]
    answers = (
        f"{wrong} of {n} held-out photos get the other name"
        if wrong
        else (f"none of {n} held-out photos gets the other name")
    )
    return (
        f"{pair['label']} and {pair['other']}: {answers}; their probabilities of the other species "
        f"add up to {pair['mass']:.2g} photos."
    )
