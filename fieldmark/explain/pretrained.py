"""Features of the pretrained backbone, as it was before it saw the labels of a run."""

import os

import numpy as np
import torch

from fieldmark.errors import WeightsError
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.network.backbone import Backbone, timm_options
from fieldmark.network.embeddings import compute_features
from fieldmark.network.weights import (
    VARIABLE,
    fetch_weights,
    find_weights_file,
    load_pretrained,
)
from fieldmark.recipe.renamed import rename_keys
from fieldmark.run_folder import read_weights_card


def compute_pretrained_features(explained: ExplainedRun, weights: str = "") -> np.ndarray:
    """Return the features of all photos of a run, float32 [n, D], by its backbone before training.

    `weights` as for `choose_weights`. Of an ensemble it is the backbone of the first member.
    """
    card, preparation = explained.run.card, explained.network.preparation
    options = backbone_options(card)
    torch.manual_seed(rename_keys(card["recipe"]).get("seed", 0))  # of random weights
    model = load_pretrained(options.pop("model_name"), choose_weights(card, weights), **options)
    backbone = Backbone(model, preparation.size).eval().requires_grad_(False)
    files = [explained.folder / path for path in explained.photos["path"]]
    return compute_features(backbone, preparation, files)


def standardise_features(features: np.ndarray) -> np.ndarray:
    """Return features [n, D] with the mean 0 and the deviation 1 in each dimension."""
    return (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)


def choose_weights(card: dict, weights: str = "") -> str:
    """Return the weights of a run's backbone before it saw the labels, downloaded if need be.

    `weights` are `pretrained`, `random` or a file that timm can load; by default those that the
    run started from, or timm's if it started from another run. FIELDMARK_WEIGHTS overrides them.
    `random` weights are others than those that the run started from. Raises WeightsError for
    missing weights, and for those of a run, which saw the labels.
    """
    if not weights:
        of_run = "run" in card.get("weights", {})
        recipe = rename_keys(card["recipe"])
        weights = "pretrained" if of_run else recipe.get("weights", "pretrained")
    weights = os.environ.get(VARIABLE) or weights
    file = find_weights_file(weights)
    if file and read_weights_card(file):
        raise WeightsError(
            f"{file} are the weights of a run, which saw the labels. Set `weights` or {VARIABLE} "
            "to those of the backbone that it started from, or to `pretrained`."
        )
    fetch_weights(backbone_options(card)["model_name"], weights)
    return weights


def backbone_options(card: dict) -> dict:
    """Return the keyword arguments of timm.create_model for a run's (first) backbone."""
    if members := card.get("members"):
        return dict(members[0])
    arch_options = rename_keys(card["recipe"]).get("arch_options", {})
    options = timm_options(card["architecture"], card["preparation"]["size"], **arch_options)
    return {"model_name": card["architecture"]} | options
