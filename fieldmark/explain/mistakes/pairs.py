"""The pairs of species that a model confuses most, whether or not an answer was wrong."""

import numpy as np
import pandas as pd

from fieldmark.data.subclasses import SUBCLASS
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


def rank_pairs_before_training(errors: pd.DataFrame) -> pd.DataFrame:
    """List the pairs that a classifier confuses which never saw the labels, from all photos.

    `errors` is the table of label errors: `label`, `suggested`, and the out-of-fold probabilities
    `self_confidence` and `suggested_probability`. Columns: `label` and `other` by name; `mass`, the
    probability of the other where it is the first suggestion; `wrong`, where it is more probable
    than the label; `n`, the photos of both. Sub-classes count as their species.
    """
    known = errors.dropna(subset=["self_confidence", "suggested_probability"])
    names = [known[column].map(remove_subclass) for column in ("label", "suggested")]
    photos = names[0].value_counts()
    table = pd.DataFrame(np.sort(np.stack(names, 1).astype(object), 1), columns=["label", "other"])
    table["mass"] = known["suggested_probability"].to_numpy()
    table["wrong"] = table["mass"] > known["self_confidence"].to_numpy()
    table = table[table["label"] != table["other"]]
    pairs = table.groupby(["label", "other"], as_index=False)[["mass", "wrong"]].sum()
    pairs["n"] = pairs["label"].map(photos).fillna(0) + pairs["other"].map(photos).fillna(0)
    pairs = pairs.assign(mass=pairs["mass"].round(DIGITS), n=pairs["n"].astype(int))
    order = ["mass", "label", "other"]
    return pairs.sort_values(order, ascending=[False, True, True]).reset_index(drop=True)


def remove_subclass(name: str) -> str:
    """Return the species of a sub-class such as `Mallard (female)`, or the name as it is."""
    match = SUBCLASS.fullmatch(name)
    return match["label"] if match else name


def describe_pair(pair: pd.Series) -> str:
    """Return a sentence about a row of `rank_confused_pairs`."""
    n, wrong = pair["n_label"] + pair["n_other"], pair["label_as_other"] + pair["other_as_label"]
    sentence = f"{pair['label']} and {pair['other']}: {wrong} of {n} held-out photos are confused"
    return f"{sentence}; a photo gives the other species {100 * pair['mass'] / max(n, 1):.0f} %."
