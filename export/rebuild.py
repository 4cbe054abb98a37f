"""Make birds.onnx again from the weights and split beside it, without training."""

from pathlib import Path

from export.exporter import publish
from fieldmark.data.locations import PhotosError
from fieldmark.data.ood_photos import KEYS as PROMISED
from fieldmark.data.ood_photos import promises, rehearsal
from fieldmark.network.restore import restored
from fieldmark.recipe import defaults

KEPT = (
    "name",
    "trained_on",
    "licence",
    "architecture",
    "recipe",
    "weights",
    "teacher",
    "baselines",
    "tests",
    "rehearsal",
    "accuracy_before_rounding",
    "members",
    "ensemble",
    "training",
)


def rebuild(
    out: Path, prepare_anew: bool = False, recipe: dict | None = None, stored: str | None = None
) -> dict:
    """Rebuild the Learner from `out`, and publish it there through the gate; return the card.

    Another `recipe` than the model's own may promise otherwise, but not have taught otherwise;
    `stored` is another precision of the file.
    Raises PhotosError where something isn't in place, or where photos are prepared otherwise than
    when the model was trained, unless that is wanted: `prepare_anew`.
    """
    learn, photos, folder, card = restored(out, prepare_anew)
    facts = {key: card[key] for key in KEPT if key in card}
    if recipe:
        facts |= repromised(card["recipe"], recipe)
    if stored:
        facts["recipe"] = facts["recipe"] | {"stored": stored}
    promised = promises(facts["recipe"], facts.get("rehearsal"))
    size, filter = (card["preparation"][key] for key in ("size", "filter"))
    return publish(learn, photos, folder, size, facts, out, filter, promised)


def repromised(old: dict, new: dict) -> dict:
    """Return the card entries that another recipe changes.

    Raises PhotosError where it would have taught another model.
    """
    known = defaults() | old
    idle = {*PROMISED, "track"}  # what teaches nothing
    other = [key for key in new if key not in idle and known[key] != new[key]]
    if other:
        raise PhotosError(
            f"That recipe teaches otherwise ({', '.join(other)}): `make train` with it, or change "
            f"only {', '.join(PROMISED)}."
        )
    return {"recipe": new, "rehearsal": rehearsal(new["rehearsal"])}
