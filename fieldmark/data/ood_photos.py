"""What a model is to promise, and photos of what it doesn't know, to judge that by."""

import os
from pathlib import Path

from birds.classifier import Classifier
from birds.model_file import ModelError
from fieldmark.data.datasets import SUFFIXES
from fieldmark.data.locations import PhotosError, draw_things
from fieldmark.evaluation.uncertainty import AUTO, Promises

SETTING = "FIELDMARK_NOT_BIRDS"
KEYS = (
    "coverage",
    "known_rejection_rate",
    "ood_score",
    "not_birds",
    "open_set_run",
    "weights_dtype",
)  # of a recipe; none teaches
FEWEST = 20
RENAMED = {"coverage": "level", "known_rejection_rate": "rejected", "weights_dtype": "stored"}


def promises(recipe: dict, rehearsed: dict | None = None) -> Promises:
    """Make of a recipe what its model promises; a rehearsal chooses the score, where it may.

    Raises PhotosError where the photos of other things aren't in place.
    """
    score = recipe.get("ood_score", AUTO)
    if score == AUTO and rehearsed:
        score = rehearsed["score"]
    kept = {new: recipe[key] for key, new in RENAMED.items() if key in recipe}
    return Promises(score=score, strangers=strangers(recipe.get("not_birds", "")), **kept)


def strangers(folder: str) -> dict[str, list[Path]]:
    """List the photos below a recipe's `not_birds`, or FIELDMARK_NOT_BIRDS; none without one.

    Raises PhotosError where there are too few.
    """
    folder = os.environ.get(SETTING) or folder
    if not folder:
        return {}
    home = draw_things() if folder == "drawn" else Path(folder).expanduser()
    found = sorted(p for p in home.rglob("*") if p.suffix.lower() in SUFFIXES)
    if len(found) < FEWEST:
        raise PhotosError(
            f"There are {len(found)} photos of other things than birds in {home}, and {FEWEST} "
            f"tell little already. Put more there, or set {SETTING} to a folder that has them."
        )
    return {"not_birds": found}


def rehearsal(run: str) -> dict | None:
    """Read what a run without some of the species found out about `unknown`, for the card.

    A run that left none out but had such a rehearsal itself hands that one on. Raises PhotosError
    where that run isn't there, or has neither.
    """
    if not run:
        return None
    try:
        card = Classifier(Path(run) / "birds.onnx").card
    except ModelError as error:
        raise PhotosError(
            f"{run} is no rehearsal: {error} Run its recipe first, or leave `open_set_run` out."
        ) from error
    if "unseen" not in card.get("strangers", {}) or not card["thresholds"]["unknown"]:
        if card.get("rehearsal"):
            return card["rehearsal"]
        raise PhotosError(f"The run {run} left no species out: set its `unseen_share`.")
    return {key: card[key] for key in ("name", "version", "unknown_compared", "strangers")} | {
        "species": len(card["labels"]),
        "score": card["thresholds"]["unknown"]["score"],
    }
