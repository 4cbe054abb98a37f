"""Temperature, out-of-distribution score and method of prediction sets, chosen on `valid`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from fieldmark.data.found_birds import locate_finder
from fieldmark.data.ood_photos import list_ood_photos
from fieldmark.evaluation import conformal, ood
from fieldmark.evaluation.calibration import fit_temperature
from fieldmark.evaluation.predictions import Predictions
from fieldmark.evaluation.proposals import Proposals
from fieldmark.evaluation.thresholds import rejection_threshold

AUTO = "auto"
UNSEEN = "unseen"


@dataclass(frozen=True)
class UncertaintyOptions:
    """What a model shall guarantee: the keys of a recipe that need no retraining.

    `coverage` is the probability that a prediction set holds the true label,
    `known_rejection_rate` the proportion of photos of the model's species that may be called
    unknown. `ood_score` is a name in `ood.SCORES`, or `auto` to compare them. `ood_photos` are
    photos of other things than birds, by kind. `finder` is the file of the finder that serves with
    the model, None for the middle square.
    """

    coverage: float = 0.95
    known_rejection_rate: float = 0.05
    ood_score: str = AUTO
    ood_photos: Mapping[str, list[Path]] = field(default_factory=dict)
    finder: Path | None = None

    @classmethod
    def from_recipe(cls, recipe: Mapping, open_set_run: dict | None = None) -> Self:
        """Return the options of a recipe; an open-set run has chosen the score for `auto`.

        The finder is that of `locate_finder`. Photos of the recipe's `not_birds` that cannot be
        decoded are reported and left out. Raises DatasetError if there are too few.
        """
        score = recipe.get("ood_score", AUTO)
        if score == AUTO and open_set_run:
            score = open_set_run["score"]
        keys = ("coverage", "known_rejection_rate")
        options = {key: recipe[key] for key in keys if key in recipe}
        photos = list_ood_photos(recipe.get("not_birds", ""), readable=True)
        return cls(ood_score=score, ood_photos=photos, finder=locate_finder(), **options)


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

    These are `options.ood_photos` and the split `unseen` of `photos`. Of each kind every other
    photo has a use: where the column `chooses` is True it compares scores, where `is_ground` is
    True known birds are pasted on it. The others, where `reports` is True, measure the result.
    """
    rows = [
        (path.resolve().as_posix(), kind)
        for kind, paths in options.ood_photos.items()
        for path in paths
    ]
    rows += [(path, UNSEEN) for path in sorted(photos["path"][photos["split"] == UNSEEN])]
    table = pd.DataFrame(rows, columns=["path", "split"]).assign(label=None)
    is_even = table.groupby("split").cumcount() % 2 == 0
    chooses = is_even & (options.ood_score == AUTO)
    is_ground = is_even & (table["split"] != UNSEEN) & (options.finder is not None)
    return table.assign(chooses=chooses, is_ground=is_ground, reports=~(chooses | is_ground))


def fit_uncertainty(
    valid: Proposals,
    train: Predictions,
    unfamiliar: Mapping[str, Proposals],
    options: UncertaintyOptions,
) -> Uncertainty:
    """Fit the temperature and the scores, and choose a score and a method of prediction sets.

    `valid` decides every choice, together with photos of each kind of `unfamiliar`; the scores
    are fitted to `train`. The temperature is fitted to the first crops of photos, then to those
    that are chosen by the score. Raises ValueError for photos of other splits.
    """
    valid.crops.require_split("valid", "Fitting the temperature")
    first = valid.crops.select(valid.starts)
    temperature = weighted_temperature(first, valid.weight)
    compared, name = None, options.ood_score
    names = ood.SCORES if name == AUTO else [name]
    scores = ood.fit_scores(train.scaled(temperature), names)
    if name == AUTO:
        compared = ood.compare_scores(scores, valid, unfamiliar, temperature)
        name = ood.choose_score(compared, len(first.labels))
    scored = ood.score_proposals(scores[name], valid, temperature)
    chosen = scored.choose(rejection_threshold(scored, options.known_rejection_rate))
    temperature = weighted_temperature(chosen, valid.weight)
    score = ood.fit_scores(train.scaled(temperature), [name])[name]
    calibrated = chosen.scaled(temperature)
    sets = conformal.compare_methods(calibrated.probability, calibrated.truth, options.coverage)
    method = conformal.choose_method(sets)
    return Uncertainty(temperature, name, score, method, len(train), compared, sets)


def weighted_temperature(predictions: Predictions, weight: np.ndarray) -> float:
    """Return the temperature of photos of which each counts by its weight, [n]."""
    logits, label_index = predictions.logits, predictions.label_index
    return fit_temperature(logits, predictions.truth, label_index, weight)
