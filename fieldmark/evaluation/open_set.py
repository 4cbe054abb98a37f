"""What a recipe says of uncertainty, and what a previous open-set run measured."""

from pathlib import Path

from birds.classifier import Classifier
from birds.model_file import ModelError
from fieldmark.data.ood_photos import list_ood_photos
from fieldmark.errors import DatasetError
from fieldmark.evaluation.uncertainty import AUTO, Promises

KEYS = (
    "coverage",
    "known_rejection_rate",
    "ood_score",
    "not_birds",
    "open_set_run",
    "weights_dtype",
)  # of a recipe; none teaches
RENAMED = {"coverage": "level", "known_rejection_rate": "rejected", "weights_dtype": "stored"}


def promises(recipe: dict, rehearsed: dict | None = None) -> Promises:
    """Make of a recipe what its model promises; a rehearsal chooses the score, where it may.

    Raises DatasetError where the photos of other things aren't in place.
    """
    score = recipe.get("ood_score", AUTO)
    if score == AUTO and rehearsed:
        score = rehearsed["score"]
    kept = {new: recipe[key] for key, new in RENAMED.items() if key in recipe}
    return Promises(score=score, strangers=list_ood_photos(recipe.get("not_birds", "")), **kept)


def rehearsal(run: str) -> dict | None:
    """Read what a run without some of the species found out about `unknown`, for the card.

    A run that left none out but had such a rehearsal itself hands that one on. Raises DatasetError
    where that run isn't there, or has neither.
    """
    if not run:
        return None
    try:
        card = Classifier(Path(run) / "birds.onnx").card
    except ModelError as error:
        raise DatasetError(
            f"{run} is no rehearsal: {error} Run its recipe first, or leave `open_set_run` out."
        ) from error
    if "unseen" not in card.get("strangers", {}) or not card["thresholds"]["unknown"]:
        if card.get("rehearsal"):
            return card["rehearsal"]
        raise DatasetError(f"The run {run} left no species out: set its `unseen_share`.")
    return {key: card[key] for key in ("name", "version", "unknown_compared", "strangers")} | {
        "species": len(card["labels"]),
        "score": card["thresholds"]["unknown"]["score"],
    }
