"""What an open-set run, trained without some of the species, found about `unknown`."""

from fieldmark.errors import RunError
from fieldmark.evaluation.uncertainty import UNSEEN
from fieldmark.run import Run

KEPT = ("name", "version", "ood_scores_compared", "out_of_distribution")


def describe_open_set_run(folder: str) -> dict | None:
    """Return the card entry `open_set_run` for the run that a recipe names; None without one.

    A run that left out no species, but had an open-set run itself, passes that one on. Raises
    RunError if the run is missing or has neither.
    """
    if not folder:
        return None
    card = Run(folder).card
    threshold = card["thresholds"]["unknown"]
    if UNSEEN in card.get("out_of_distribution", {}) and threshold:
        choice = {"species": len(card["labels"]), "score": threshold["score"]}
        return {key: card[key] for key in KEPT} | choice
    if card.get("open_set_run"):
        return card["open_set_run"]
    raise RunError(
        f"{folder} is no open-set run: it left out no species. Set its `unseen_share` and train it "
        "again, or remove `open_set_run`."
    )
