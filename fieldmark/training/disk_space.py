"""Estimate what a training run writes to the disk, before photos are surveyed."""

from pathlib import Path

import timm
import torch

from fieldmark.data.cache import CACHES, NO_CACHE, cached_side
from fieldmark.disk import check_space, folder_size, nearest_folder
from fieldmark.network.backbone import timm_options
from fieldmark.network.preparation import Preparation
from fieldmark.recipe import Recipe
from fieldmark.run import Run

KEPT_CHECKPOINTS = 2  # the latest, and the one before it or the next while it is written
NOTEBOOK = 20_000_000  # bytes of the executed notebook, figures and tables
MODEL_FILES = 2  # copies of the weights: the model file, while it is written, and the weights


def check_disk_space(run: Run, recipe: Recipe, photos: int, caches: Path = CACHES) -> None:
    """Raise DiskError unless the disk has space for a run on so many photos.

    What an interrupted run has written counts as written, and so do the photos in `caches`; whether
    they are the right ones is known after the survey.
    """
    folder = nearest_folder(run.folder)
    needs = estimate_disk_space(recipe, photos)
    written = {"checkpoints": folder_size(run.checkpoints), "decoded photos": folder_size(caches)}
    needs |= {kind: max(0, needs[kind] - size) for kind, size in written.items()}
    if nearest_folder(caches).stat().st_dev != folder.stat().st_dev:
        needs["decoded photos"] = 0  # on another disk, which is checked after the survey
    check_space(run.folder, needs, NO_CACHE if needs["decoded photos"] else "")


def estimate_disk_space(recipe: Recipe, photos: int) -> dict[str, int]:
    """Return the bytes that a run on so many photos writes, by kind."""
    size = Preparation.for_arch(recipe.arch, recipe.size, **recipe.arch_options).size
    with torch.device("meta"):  # no memory, no weights
        options = timm_options(recipe.arch, size, **recipe.arch_options)
        network = timm.create_model(recipe.arch, num_classes=0, **options)
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    moments = {"adamw": 2, "sgd": 1}[recipe.optimizer]
    in_checkpoint = 2 + moments + (recipe.ema_decay > 0)  # the last and the best epoch's weights
    restarts = recipe.restarts if recipe.schedule == "warm_restarts" else 0
    shares = recipe.valid_share + recipe.calibration_share
    decoded = photos * (1 - shares) * cached_side(size) ** 2 * 3 if recipe.cache else 0
    return {
        "checkpoints": KEPT_CHECKPOINTS * in_checkpoint * weights if recipe.epochs else 0,
        "snapshots": restarts * weights,
        "model files": MODEL_FILES * weights,
        "decoded photos": int(decoded),
        "notebook and figures": NOTEBOOK,
    }
