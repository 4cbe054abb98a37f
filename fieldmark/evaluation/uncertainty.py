"""What a model file promises beyond accuracy: fitted before it is written, measured on the file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from fastai.vision.all import Learner

from birds.classifier import Classifier
from export.look import look
from export.weights_dtype import DEFAULT
from fieldmark.evaluation import calibration, measure
from fieldmark.evaluation import ood as unknown

UNSEEN = "unseen"
AUTO = "auto"


@dataclass(frozen=True)
class Promises:
    """How often a shortlist holds the true label (`level`), and what is called unknown.

    `rejected` is the share of known birds that may be, `score` what strangeness is measured by
    (`auto` compares), and `strangers` are photos of other things, by kind, to judge it. `stored`
    is the precision of the file's weights.
    """

    level: float = 0.95
    rejected: float = 0.05
    score: str = AUTO
    strangers: Mapping[str, list[Path]] = field(default_factory=dict)
    stored: str = DEFAULT


class Part(NamedTuple):
    """Photos of one part of the split: `paths`, and the places of their labels, int [n]."""

    paths: list[Path]
    truth: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, folder: Path, vocab: list[str]) -> "Part":
        """Take the photos of a table; a label that isn't in `vocab` has place -1."""
        places = pd.Index(vocab).get_indexer(table["label"])
        return cls([folder / path for path in table["path"]], places)


class Fitted(NamedTuple):
    """A temperature, the module that scores strangeness, its name, and who is left to judge it."""

    temperature: float
    score: unknown.Score
    name: str
    compared: dict | None
    strangers: dict[str, list[Path]]


def fit(learn: Learner, photos: pd.DataFrame, folder: Path, promises: Promises) -> Fitted:
    """Fit the temperature to `valid` and the scores to `train`, and choose one of them.

    Where scores are compared, every other stranger is for choosing; the rest judge the choice.
    """
    vocab = list(learn.dls.vocab)
    valid = Part.of(photos[photos["split"] == "valid"], folder, vocab)
    taught = Part.of(unknown.sample(photos[photos["split"] == "train"]), folder, vocab)
    strangers = dict(promises.strangers)
    if (unseen := photos["split"] == UNSEEN).any():
        strangers[UNSEEN] = [folder / path for path in sorted(photos["path"][unseen])]
    tuned = look(learn, valid.paths)
    temperature = calibration.temperature(tuned.logits, valid.truth)
    scores = unknown.fit(look(learn, taught.paths), taught.truth)
    name, compared = promises.score, None
    if name == AUTO:
        choosing = {kind: look(learn, paths[::2]) for kind, paths in strangers.items()}
        strangers = {kind: paths[1::2] for kind, paths in strangers.items()}
        compared = unknown.compare(scores, tuned, choosing, temperature)
        name = unknown.choose(compared, len(vocab))
    return Fitted(temperature, scores[name], name, compared, strangers)


def keep(
    classifier: Classifier,
    photos: pd.DataFrame,
    folder: Path,
    fitted: Fitted,
    promises: Promises,
) -> dict:
    """Set a file's thresholds by `calibration` and return its card's entries.

    Each photo is judged by thresholds that others gave; strangers by those of the card.
    """
    held = Part.of(photos[photos["split"] == "calibration"], folder, classifier.labels)
    outputs = measure.asked(classifier, held.paths)
    chosen, lists = measure.thresholds(
        outputs, held.truth, fitted.name, promises.level, promises.rejected
    )
    families = [each["family"] for each in classifier.card["labels"]]
    figures, coverage = measure.metrics(outputs, held.truth, fitted.temperature, chosen, families)
    return {
        "thresholds": chosen,
        "metrics": figures | {"part": "calibration"},
        "coverage_by_family": coverage,
        "shortlists_compared": lists,
        "unknown_compared": fitted.compared,
        "strangers": {
            kind: measure.strangers(
                outputs.unknown, measure.asked(classifier, paths).unknown, chosen["unknown"]
            )
            for kind, paths in fitted.strangers.items()
        },
    }
