"""Bring back the Learner of a run from the weights and the split that it left."""

from pathlib import Path

import pandas as pd
from fastai.vision.all import Learner
from safetensors.torch import load_file

from export.card import fingerprints
from fieldmark.data.datasets import source
from fieldmark.data.loaders import dataloaders
from fieldmark.data.locations import PhotosError
from fieldmark.network.ensemble import blank
from fieldmark.run import Run
from fieldmark.training.learner import learner


def restored(out: Path, prepare_anew: bool = False) -> tuple[Learner, pd.DataFrame, Path, dict]:
    """Return the Learner of `out`, its split, the folder of its photos, and the card it came with.

    Its matrices are those that were rounded to float16. Raises PhotosError where something isn't in
    place, or where photos are prepared otherwise than when the model was trained, unless that is
    wanted: `prepare_anew`.
    """
    run = Run(out)
    card = run.card
    made = {key: card["preparation"][key] for key in ("size", "mean", "std", "filter")}
    if not prepare_anew:
        check_preparation(card["preparation"])
    photos = pd.read_csv(run.split_file, dtype=str)
    folder, _ = source(card["recipe"])
    missing = [path for path in photos["path"] if not (folder / path).is_file()]
    if missing:
        raise PhotosError(
            f"The gate needs the photos of the split, and {len(missing)} of them, like "
            f"{missing[0]}, are not in {folder}. Set FIELDMARK_PHOTOS to the folder that has them."
        )
    dls = dataloaders(photos, folder, **made)
    members = card.get("members", [])
    arch = card["recipe"].get("arch", card["architecture"])
    learn = learner(dls, arch, "random", **card["recipe"].get("arch_options", {}))
    if members:
        learn.model = blank(members, made["size"], dls.c)
    learn.model.load_state_dict(load_file(run.weights_file))
    return learn, photos, folder, card


def check_preparation(recorded: dict) -> None:
    """Raise PhotosError unless the drawn photos are prepared as the card recorded."""
    found = fingerprints(recorded["size"], recorded["filter"])
    changed = [name for name in found if found[name] != recorded["sha256"].get(name)]
    if changed:
        raise PhotosError(
            f"Photos ({', '.join(changed)}) are prepared otherwise than when this model was made, "
            f"with Pillow {recorded['pillow']}. Undo that, train again, or, if meant, measure it "
            "and write the model anew: fieldmark export --new-preparation RUN"
        )
