"""Go on from a model that an earlier run left: from its body, and its head for the same labels."""

from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from fieldmark.errors import UserError
from fieldmark.run import read_weights_card

BODY, HEAD = "0.model.", "1."  # how a run's weights are named, in a fastai model


class WeightsError(UserError):
    """Pretrained weights that can't be had; the text says where to put them."""


def body(model: nn.Module, arch: str, file: Path) -> nn.Module:
    """Load the body that a run left into a timm network of the same architecture.

    Raises WeightsError for another one, an ensemble among them.
    """
    card = read_weights_card(file)
    if card["architecture"] != arch:
        raise WeightsError(f"{file} holds the weights of {card['architecture']}, not of {arch}.")
    model.load_state_dict(part(file, BODY))
    return model


def head(model: nn.Module, file: Path | None, labels: list[str]) -> None:
    """Load the head that a run left.

    Raises WeightsError where `file` is no run's, or was taught other labels.
    """
    card = read_weights_card(file) if file else None
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


def parts(file: Path | None) -> pd.Series | None:
    """Return the part that each photo played in the run that left these weights, by its path.

    None where they are no run's. Raises WeightsError where its split.csv isn't beside them.
    """
    if not file or not read_weights_card(file):
        return None
    split = file.parent / "split.csv"
    if not split.is_file():
        raise WeightsError(f"{file} needs the split.csv beside it that says which photos taught.")
    return pd.read_csv(split, dtype=str, index_col="path")["split"]


def check_apart(known: pd.Series | None, photos: pd.DataFrame) -> None:
    """Raise WeightsError if a photo taught an earlier run, with `parts` as known, and judges here.

    The model would tell what it was told.
    """
    if known is None:
        return
    before, now = photos["path"].map(known), photos["split"]
    told = (before == "train") & (now != "train")
    told |= (before == "valid") & ~now.isin(["train", "valid"])
    if told.any():
        raise WeightsError(
            f"The earlier run learned from {told.sum()} photos that judge here, like "
            f"{photos['path'][told].min()}. Begin from other weights, or let these teach."
        )
