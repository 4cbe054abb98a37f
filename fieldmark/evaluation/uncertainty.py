"""Temperature, out-of-distribution score and thresholds: chosen on `valid`, set on `calibration`.

A rule of thresholds in a card keeps the names that the HTTP API documents: `shortlist` is the rule
of prediction sets, `unknown` the one of out-of-distribution scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from fieldmark.data.ood_photos import list_ood_photos
from fieldmark.evaluation import conformal, metrics, ood
from fieldmark.evaluation.calibration import fit_temperature
from fieldmark.evaluation.predictions import Predictions

AUTO = "auto"
UNSEEN = "unseen"
FOLDS = 10


@dataclass(frozen=True)
class UncertaintyOptions:
    """What a model shall guarantee: the keys of a recipe that need no retraining.

    `coverage` is the probability that a prediction set holds the true label,
    `known_rejection_rate` the proportion of photos of the model's species that may be called
    unknown. `ood_score` is a name in `ood.SCORES`, or `auto` to compare them. `ood_photos` are
    photos of other things than birds, by kind.
    """

    coverage: float = 0.95
    known_rejection_rate: float = 0.05
    ood_score: str = AUTO
    ood_photos: Mapping[str, list[Path]] = field(default_factory=dict)

    @classmethod
    def from_recipe(cls, recipe: Mapping, open_set_run: dict | None = None) -> Self:
        """Return the options of a recipe; an open-set run has chosen the score for `auto`.

        Photos of the recipe's `not_birds` that cannot be decoded are reported and left out. Raises
        DatasetError if there are too few.
        """
        score = recipe.get("ood_score", AUTO)
        if score == AUTO and open_set_run:
            score = open_set_run["score"]
        keys = ("coverage", "known_rejection_rate")
        options = {key: recipe[key] for key in keys if key in recipe}
        photos = list_ood_photos(recipe.get("not_birds", ""), readable=True)
        return cls(ood_score=score, ood_photos=photos, **options)


@dataclass(frozen=True)
class Uncertainty:
    """What was fitted and chosen, and what was compared for that; None if nothing was."""

    temperature: float
    score_name: str
    score: ood.OodScore
    set_method: str
    train_photos: int
    scores_compared: dict | None
    sets_compared: dict | None


def list_unfamiliar(photos: pd.DataFrame, options: UncertaintyOptions) -> pd.DataFrame:
    """List photos of no species that the model has, by kind in `split`, with absolute paths or not.

    These are `options.ood_photos` and the split `unseen` of `photos`. The column `chooses` is True
    for every other photo of a kind where scores are compared; the others measure the choice.
    """
    rows = [
        (path.resolve().as_posix(), kind)
        for kind, paths in options.ood_photos.items()
        for path in paths
    ]
    rows += [(path, UNSEEN) for path in sorted(photos["path"][photos["split"] == UNSEEN])]
    table = pd.DataFrame(rows, columns=["path", "split"]).assign(label=None)
    is_even = table.groupby("split").cumcount() % 2 == 0
    return table.assign(chooses=is_even & (options.ood_score == AUTO))


def fit_uncertainty(
    valid: Predictions,
    train: Predictions,
    unfamiliar: Mapping[str, Predictions],
    options: UncertaintyOptions,
) -> Uncertainty:
    """Fit the temperature and the scores, and choose a score and a method of prediction sets.

    `valid` decides every choice, together with photos of each kind of `unfamiliar`; the scores
    are fitted to `train`. Raises ValueError for photos of other splits.
    """
    valid.require_split("valid", "Fitting the temperature")
    temperature = fit_temperature(valid.logits, valid.truth, valid.label_index)
    calibrated = valid.scaled(temperature)
    compared, name = None, options.ood_score
    names = ood.SCORES if name == AUTO else [name]
    scores = ood.fit_scores(train.scaled(temperature), names)
    if name == AUTO:
        compared = ood.compare_scores(scores, valid, unfamiliar, temperature)
        name = ood.choose_score(compared, len(valid.labels))
    sets = conformal.compare_methods(calibrated.probability, valid.truth, options.coverage)
    method = conformal.choose_method(sets)
    return Uncertainty(temperature, name, scores[name], method, len(train), compared, sets)


def set_thresholds(
    predictions: Predictions, method: str, coverage: float, known_rejection_rate: float
) -> dict:
    """Return the rules `shortlist` and `unknown`, each None where there are too few photos."""
    rule = conformal.fit_rule(predictions.probability, predictions.truth, coverage, method)
    threshold = conformal.conformal_quantile(predictions.ood_score, 1 - known_rejection_rate)
    unknown = {"rejected": known_rejection_rate, "threshold": threshold}
    return {"shortlist": rule, "unknown": unknown if threshold is not None else None}


def cross_fit(predictions: Predictions, thresholds: dict, seed: int = 0):
    """Apply thresholds as in a card to photos, each set on the other nine of ten folds.

    Returns whether each photo's prediction set holds the truth, bool [n], the set's size, int [n],
    and whether the photo is called unknown, bool [n].
    """
    n, (sets, unknown) = len(predictions), (thresholds["shortlist"], thresholds["unknown"])
    covered, size, rejected = np.zeros(n, bool), np.ones(n, int), np.zeros(n, bool)
    folds = np.random.default_rng(seed).permutation(n) % FOLDS
    for fold in range(FOLDS):
        held_out = folds == fold
        measured, fitted = predictions.select(held_out), predictions.select(~held_out)
        rules = set_thresholds(
            fitted,
            sets["method"] if sets else conformal.LAC,
            sets["level"] if sets else 1.0,
            unknown["rejected"] if unknown else 0.0,
        )
        covered[held_out], size[held_out] = conformal.apply_rule(
            measured.probability, measured.truth, rules["shortlist"]
        )
        if rules["unknown"]:
            rejected[held_out] = measured.ood_score > rules["unknown"]["threshold"]
    return covered, size, rejected


def measure_uncertainty(
    predictions: Predictions, thresholds: dict, families: list[str | None]
) -> tuple[dict, dict]:
    """Return the metrics of a card, and the coverage of each family, cross-fitted.

    `families` are those of the labels.
    """
    covered, size, rejected = cross_fit(predictions, thresholds)
    figures = {
        **metrics.accuracy_metrics(predictions),
        **metrics.calibration_metrics(predictions),
        **metrics.set_metrics(covered, size, rejected),
    }
    truth = predictions.truth[~rejected]
    return figures, metrics.coverage_by_family(covered[~rejected], truth, families)


def describe_uncertainty(
    calibration: Predictions,
    unfamiliar: Mapping[str, Predictions],
    fitted: Uncertainty,
    options: UncertaintyOptions,
    families: list[str | None],
) -> dict:
    """Set the thresholds of a model on `calibration`; return its card's entries.

    All predictions are those of the file that is served. Raises ValueError for another split.
    """
    calibration.require_split("calibration", "Setting thresholds")
    thresholds = set_thresholds(
        calibration, fitted.set_method, options.coverage, options.known_rejection_rate
    )
    if thresholds["unknown"]:
        thresholds["unknown"] = {"score": fitted.score_name} | thresholds["unknown"]
    threshold = (thresholds["unknown"] or {}).get("threshold")
    figures, by_family = measure_uncertainty(calibration, thresholds, families)
    by_subclass = metrics.accuracy_by_subclass(calibration)
    return ({"accuracy_by_subclass": by_subclass} if by_subclass else {}) | {
        "thresholds": thresholds,
        "metrics": figures | {"split": "calibration"},
        "coverage_by_family": by_family,
        "prediction_sets_compared": fitted.sets_compared,
        "ood_scores_compared": fitted.scores_compared,
        "ood_score_fit": {"split": "train", "photos": fitted.train_photos},
        "out_of_distribution": {
            kind: metrics.ood_metrics(calibration.ood_score, photos.ood_score, threshold)
            for kind, photos in unfamiliar.items()
        },
    }
