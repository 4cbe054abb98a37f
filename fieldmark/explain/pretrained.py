"""Features of the pretrained backbone, as it was before it saw the labels of a run."""

import os

import numpy as np
import torch

from fieldmark.errors import WeightsError
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.network.backbone import Backbone, timm_options
from fieldmark.network.embeddings import compute_features
from fieldmark.network.weights import VARIABLE, find_weights_file, load_pretrained
from fieldmark.recipe.renamed import rename_keys
from fieldmark.run_folder import read_weights_card


def compute_pretrained_features(explained: ExplainedRun, weights: str = "") -> np.ndarray:
    """Return the features of all photos of a run, float32 [n, D], by its backbone before training.

    `weights` are `pretrained`, `random` or a file that timm can load; by default those that the
    run started from, or timm's if it started from another run. FIELDMARK_WEIGHTS overrides them.
    Raises WeightsError for missing weights, and for those of a run, which saw the labels.
    """
    network, card = explained.network, explained.run.card
    recipe = rename_keys(card["recipe"])
    if not weights:
        of_run = "run" in card.get("weights", {})
        weights = "pretrained" if of_run else recipe.get("weights", "pretrained")
    weights = os.environ.get(VARIABLE) or weights
    file = find_weights_file(weights)
    if file and read_weights_card(file):
        raise WeightsError(
            f"{file} are the weights of a run, which saw the labels. Set `weights` or {VARIABLE} "
            "to those of the backbone that it started from, or to `pretrained`."
        )
    preparation = network.preparation
    options = timm_options(network.arch, preparation.size, **network.arch_options)
    torch.manual_seed(recipe.get("seed", 0))  # of random weights
    backbone = Backbone(load_pretrained(network.arch, weights, **options), preparation.size)
    files = [explained.folder / path for path in explained.photos["path"]]
    return compute_features(backbone.eval().requires_grad_(False), preparation, files)
