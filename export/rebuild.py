"""Make birds.onnx again from the weights and split beside it, without training."""

from pathlib import Path

import pandas as pd
from fastai.vision.all import Learner

from export.exporter import publish
from fieldmark.data.datasets import load_dataset
from fieldmark.data.loaders import make_dataloaders
from fieldmark.errors import DatasetError
from fieldmark.evaluation.open_set import KEYS as PROMISED
from fieldmark.evaluation.open_set import promises, rehearsal
from fieldmark.network.network import Network
from fieldmark.recipe import Recipe, rename_keys
from fieldmark.run import Run
from fieldmark.training.learner import make_learner

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
    Raises DatasetError where something isn't in place, or where photos are prepared otherwise than
    when the model was trained, unless that is wanted: `prepare_anew`.
    """
    learn, photos, folder, card = restore_learner(out, prepare_anew)
    facts = {key: card[key] for key in KEPT if key in card}
    if recipe:
        facts |= repromised(card["recipe"], recipe)
    if stored:
        facts["recipe"] = facts["recipe"] | {"weights_dtype": stored}
    promised = promises(facts["recipe"], facts.get("rehearsal"))
    size, filter = (card["preparation"][key] for key in ("size", "filter"))
    return publish(learn, photos, folder, size, facts, out, filter, promised)


def restore_learner(
    run: Path, prepare_anew: bool = False
) -> tuple[Learner, pd.DataFrame, Path, dict]:
    """Return the Learner of a run, its split, the folder of its photos, and its card.

    Raises DatasetError if a photo of the split is missing.
    """
    network = Network.load(run, check_preparation=not prepare_anew)
    network.pretrained = False  # it is not trained further, so nothing needs freezing
    card = Run(run).card
    photos = pd.read_csv(run / "split.csv", dtype=str)
    recipe = card["recipe"]
    folder, _ = load_dataset(recipe["photos"], crop_to_box=recipe.get("crop_to_box", False))
    missing = [path for path in photos["path"] if not (folder / path).is_file()]
    if missing:
        raise DatasetError(
            f"The gate needs the photos of the split, and {len(missing)} of them, like "
            f"{missing[0]}, are not in {folder}. Set FIELDMARK_PHOTOS to the folder that has them."
        )
    prepared = {key: card["preparation"][key] for key in ("size", "mean", "std", "filter")}
    return make_learner(network, make_dataloaders(photos, folder, **prepared)), photos, folder, card


def repromised(old: dict, new: dict) -> dict:
    """Return the card entries that another recipe changes.

    Raises DatasetError where it would have taught another model.
    """
    recipe = Recipe.parse(new)
    known = Recipe().model_dump() | rename_keys(old)
    other = [key for key, value in recipe.training_keys().items() if known[key] != value]
    if other:
        raise DatasetError(
            f"That recipe teaches otherwise ({', '.join(other)}): `make train` with it, or change "
            f"only {', '.join(PROMISED)}."
        )
    return {"recipe": recipe.model_dump(), "rehearsal": rehearsal(recipe.open_set_run)}
