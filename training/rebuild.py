"""Make birds.onnx again from the weights and split beside it, without training."""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
from fastai.vision.all import Learner
from safetensors import safe_open
from safetensors.torch import load_file

from birds.classifier import ModelError
from export.card import fingerprints
from export.gate import GateError
from export.graph import ExportError
from export.precision import PRECISIONS
from export.publish import publish

from .data import dataloaders
from .learner import learner
from .photos import PhotosError
from .recipe import RecipeError, defaults, read
from .sources import source
from .strangers import KEYS as PROMISED
from .strangers import promises, rehearsal

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


def restored(out: Path, prepare_anew: bool = False) -> tuple[Learner, pd.DataFrame, Path, dict]:
    """Return the Learner of `out`, its split, the folder of its photos, and the card it came with.

    Its matrices are those that were rounded to float16. Raises PhotosError as `rebuild` does.
    """
    weights = out / "birds.safetensors"
    if not weights.is_file():
        raise PhotosError(f"There is no {weights}. `make train` writes it into its run.")
    with safe_open(weights, "pt") as file:
        card = json.loads(file.metadata()["card"])
    made = {key: card["preparation"][key] for key in ("size", "mean", "std", "filter")}
    if not prepare_anew:
        check_preparation(card["preparation"])
    photos = pd.read_csv(out / "split.csv", dtype=str)
    folder, _ = source(card["recipe"])
    missing = [path for path in photos["path"] if not (folder / path).is_file()]
    if missing:
        raise PhotosError(
            f"The gate needs the photos of the split, and {len(missing)} of them, like "
            f"{missing[0]}, are not in {folder}. Set FIELDMARK_PHOTOS to the folder that has them."
        )
    dls = dataloaders(photos, folder, **made)
    learn = learner(dls, card["architecture"], "random")
    learn.model.load_state_dict(load_file(weights))
    return learn, photos, folder, card


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


def check_preparation(recorded: dict) -> None:
    """Raise PhotosError unless the drawn photos are prepared as the card recorded."""
    found = fingerprints(recorded["size"], recorded["filter"])
    changed = [name for name in found if found[name] != recorded["sha256"].get(name)]
    if changed:
        raise PhotosError(
            f"Photos ({', '.join(changed)}) are prepared otherwise than when this model was made, "
            f"with Pillow {recorded['pillow']}. Undo that, train again, or, if meant, measure it "
            "and write the model anew: python -m training.rebuild --prepare-anew RUN"
        )


def main() -> int:
    """Rebuild; 2 means that something has to be put in place first, 1 that the gate said no."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prepare-anew", action="store_true")
    parser.add_argument("--recipe", type=Path, help="promise as this one does")
    parser.add_argument("--precision", choices=PRECISIONS, help="of the file, unless the recipe's")
    asked = parser.parse_args()
    try:
        recipe = asked.recipe and read(asked.recipe)
        card = rebuild(asked.out, asked.prepare_anew, recipe, asked.precision)
    except (PhotosError, RecipeError, ExportError, GateError, ModelError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, PhotosError | RecipeError) else 1
    print(f"{card['name']} {card['version']} passed the gate: {json.dumps(card['gate'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
