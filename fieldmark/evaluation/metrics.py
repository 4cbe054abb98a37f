"""Judge a Learner by photos that neither trained it nor chose its settings."""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import Learner

from fieldmark.data.loaders import augmented_loader
from fieldmark.statistics import bootstrap_interval, wilson_interval

DRAWS = 2000


@dataclass(frozen=True)
class Answers:
    """What a Learner answered: a `probability` [n, C] of each label in `vocab`, for each photo.

    `truth` [n] is the place in `vocab` of the true label; `paths` name the photos.
    """

    vocab: list[str]
    probability: np.ndarray
    truth: np.ndarray
    paths: list[str]

    @cached_property
    def answer(self) -> np.ndarray:
        """Return the place in `vocab` of the likeliest label, [n]."""
        return self.probability.argmax(1)

    @cached_property
    def rank(self) -> np.ndarray:
        """Return the place of the true label among the answers, 0 for the first, [n].

        Of equals the first in `vocab` comes first, as in `answer`.
        """
        true = self.probability[np.arange(len(self.truth)), self.truth][:, None]
        before = np.arange(len(self.vocab)) < self.truth[:, None]
        return ((self.probability > true) | ((self.probability == true) & before)).sum(1)

    @cached_property
    def table(self) -> pd.DataFrame:
        """List path, label, answer, the probabilities of both, the label's rank, and the loss.

        The loss is the cross-entropy, -log of the label's probability, whatever loss taught.
        """
        photo = np.arange(len(self.truth))
        true = self.probability[photo, self.truth]
        return pd.DataFrame(
            {
                "path": self.paths,
                "label": np.array(self.vocab)[self.truth],
                "predicted": np.array(self.vocab)[self.answer],
                "probability": self.probability[photo, self.answer],
                "probability_of_label": true,
                "rank": self.rank,
                "loss": -np.log(np.maximum(true, np.finfo(np.float32).tiny)),
            }
        )


def answers(learn: Learner, photos: pd.DataFrame, part: str, views: int = 0) -> Answers:
    """Let the Learner answer one part of the split, along its validation path.

    `views` more looks at each photo, cropped, turned and lit as in training, make up three
    quarters of the answer, as in fastai's `tta`. That itself would leave out whatever the train
    loader alone does. A served model looks once, so judge it with no such views.
    """
    chosen = photos[photos["split"] == part].reset_index(drop=True)
    loader = learn.dls.test_dl(chosen, with_labels=True)
    with learn.no_bar(), learn.no_logging():
        probability, truth = learn.get_preds(dl=loader, act=probabilities)
        if views:
            with augmented_loader(learn.dls, loader) as shown:
                looks = [learn.get_preds(dl=shown, act=probabilities)[0] for _ in range(views)]
            probability = torch.lerp(torch.stack(looks).mean(0), probability, 0.25)
    vocab = list(learn.dls.vocab)
    return Answers(vocab, probability.numpy(), truth.numpy().astype(int), list(chosen["path"]))


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Turn logits into probabilities, whatever the Learner's loss."""
    return logits.float().softmax(1).as_subclass(torch.Tensor)


def metrics(answers: Answers, draws: int = DRAWS, seed: int = 0) -> dict[str, dict]:
    """Measure accuracy, top-5 accuracy, and macro precision, recall and F1.

    Each has its value, the number of photos, a 95 % interval and its method. Macro means are over
    the classes that a resample has photos of.
    """
    n = len(answers.truth)
    found = {
        "accuracy": wilson_interval(int((answers.rank == 0).sum()), n),
        "top_5": wilson_interval(int((answers.rank < 5).sum()), n),
    }
    for name in ("precision", "recall", "f1"):
        found[f"macro_{name}"] = bootstrap_interval(
            [answers.truth, answers.answer],
            partial(macro_score, name=name, classes=len(answers.vocab)),
            resamples=draws,
            seed=seed,
        )
    return found


def macro_score(truth: np.ndarray, answer: np.ndarray, name: str, classes: int) -> float:
    """Return the mean of a score over the classes that occur in `truth`."""
    counts = [
        np.bincount(each, minlength=classes) for each in (truth[truth == answer], answer, truth)
    ]
    return float(scores(*counts)[name][counts[2] > 0].mean())


def scores(hits: np.ndarray, answered: np.ndarray, photos: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 from counts; 0 where nothing can be divided."""
    return {
        "precision": hits / np.maximum(answered, 1),
        "recall": hits / np.maximum(photos, 1),
        "f1": 2 * hits / np.maximum(answered + photos, 1),
    }


def per_class(answers: Answers, taught: pd.Series) -> pd.DataFrame:
    """List each class: photos judged (`n`) and `taught`, precision, recall and F1.

    `taught` counts training photos by label. The precision of a label that was never the answer
    is 0; a class without photos to judge by has no recall and no F1.
    """
    classes = len(answers.vocab)
    right = answers.truth[answers.truth == answers.answer]
    hits, answered, photos = (
        np.bincount(places, minlength=classes) for places in (right, answers.answer, answers.truth)
    )
    found = pd.DataFrame({"label": answers.vocab, "n": photos, "right": hits})
    found.insert(2, "taught", found["label"].map(taught).fillna(0).astype(int))
    found = found.assign(**scores(hits, answered, photos))
    found.loc[found["n"] == 0, ["recall", "f1"]] = np.nan
    return found


def worst(classes: pd.DataFrame, count: int = 25) -> pd.DataFrame:
    """List the classes with the lowest F1."""
    return classes.dropna(subset="f1").sort_values(["f1", "recall", "label"]).head(count)


def long_tail(classes: pd.DataFrame, groups: int = 3) -> pd.DataFrame:
    """Compare the accuracy on classes of few, some and many training photos.

    Each of the `groups` has about as many classes, but classes of one size are never parted, so
    there is one group only if all are alike. Columns: photos `taught` a class (from, to),
    `classes`, photos judged (`n`), `accuracy` and its 95 % interval.
    """
    edges = classes["taught"].quantile(np.linspace(0, 1, groups + 1)[1:-1], "lower").to_numpy()
    group = np.searchsorted(np.unique(edges), classes["taught"])
    rows = []
    for _, members in classes.groupby(group):
        counted = wilson_interval(int(members["right"].sum()), int(members["n"].sum()))
        rows.append(
            {
                "fewest_taught": members["taught"].min(),
                "most_taught": members["taught"].max(),
                "classes": len(members),
                "n": counted["n"],
                "accuracy": counted["value"],
                "low": counted["interval"][0],
                "high": counted["interval"][1],
            }
        )
    return pd.DataFrame(rows)


def confused(answers: Answers, count: int = 12) -> pd.DataFrame:
    """List the pairs of labels most often taken for each other, the one for the other."""
    wrong = answers.table[answers.rank > 0]
    pairs = wrong.groupby(["label", "predicted"]).size().rename("times").reset_index()
    pairs = pairs.sort_values(["times", "label", "predicted"], ascending=[False, True, True])
    pairs.columns = ["is a", "was called", "times"]
    return pairs.head(count).reset_index(drop=True)
