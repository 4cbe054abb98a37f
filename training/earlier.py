"""Go on from a model that an earlier run left: from its body, and its head for the same labels."""

import json
from pathlib import Path

import pandas as pd
import torch
from fastai.vision.all import DataLoaders
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

BODY, HEAD = "0.model.", "1."  # how a run's weights are named, in a fastai model


class WeightsError(ValueError):
    """Pretrained weights that can't be had; the text says where to put them."""


def card_in(file: Path) -> dict | None:
    """Return the card that a run's weights carry; None for any other file of weights."""
    try:
        with safe_open(file, "pt") as weights:
            return json.loads((weights.metadata() or {}).get("card", "null"))
    except SafetensorError:  # as torch saves them, or no weights at all
        return None


def body(model: nn.Module, arch: str, file: Path) -> nn.Module:
    """Load the body that a run left into a timm network of the same architecture.

    Raises WeightsError for another one, an ensemble among them.
    """
    card = card_in(file)
    if card["architecture"] != arch:
        raise WeightsError(f"{file} holds the weights of {card['architecture']}, not of {arch}.")
    model.load_state_dict(part(file, BODY))
    return model


def head(model: nn.Module, file: Path | None, labels: list[str]) -> None:
    """Load the head that a run left.

    Raises WeightsError where `file` is no run's, or was taught other labels.
    """
    card = card_in(file) if file else None
    if not card:
        raise WeightsError("`head_from: weights` needs `weights` that a run left.")
    if [each["label"] for each in card["labels"]] != list(labels):
        raise WeightsError(
            f"{file} was taught other labels. Leave `head_from` out: the body goes on from there, "
            "and the head learns anew."
        )
    model.load_state_dict(part(file, HEAD))


def part(file: Path, prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a part of a model, by their names in that part."""
    return {
        name.removeprefix(prefix): value
        for name, value in load_file(file).items()
        if name.startswith(prefix)
    }


def check_apart(out: Path, dls: DataLoaders) -> None:
    """Raise WeightsError if the run `out` learned from photos that judge here.

    It would tell what it was told. The split of that run lies beside its weights.
    """
    split = out / "split.csv"
    if not split.is_file():
        raise WeightsError(f"{out} has weights, but no split.csv to say which photos taught them.")
    photos = pd.read_csv(split, dtype=str)
    paths = {part: set(table["path"]) for part, table in photos.groupby("split")}
    taught, tuned = (set(loader.items["path"]) for loader in (dls.train, dls.valid))
    elsewhere = (paths["train"] - taught) | (paths.get("tune", set()) - taught - tuned)
    if elsewhere:
        raise WeightsError(
            f"{out} learned from {len(elsewhere)} photos that judge here, like {min(elsewhere)}. "
            "Train it on the same photos, with the same shares and seed."
        )
