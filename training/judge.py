"""Judge a Learner by photos that neither trained it nor chose its settings."""

import pandas as pd
from fastai.vision.all import ClassificationInterpretation, Learner

from export.card import share


def interpret(learn: Learner, photos: pd.DataFrame, part: str) -> ClassificationInterpretation:
    """Let the Learner answer one part of the split, along its validation path."""
    loader = learn.dls.test_dl(photos[photos["split"] == part], with_labels=True)
    with learn.no_bar():
        return ClassificationInterpretation.from_learner(learn, dl=loader)


def accuracy(judged: ClassificationInterpretation) -> dict:
    """Return the accuracy with its 95 % interval."""
    matrix = judged.confusion_matrix()
    return share(int(matrix.trace()), int(matrix.sum()))


def confused(judged: ClassificationInterpretation, count: int = 12) -> pd.DataFrame:
    """List the pairs of labels most often taken for each other."""
    pairs = judged.most_confused()[:count]
    return pd.DataFrame(pairs, columns=["is a", "was called", "times"])
