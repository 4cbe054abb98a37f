"""Train a finder by its recipe, from the photos to the weights."""

from pathlib import Path

import pandas as pd
from fastai.learner import Learner
from safetensors.torch import save

from fieldmark.files import write_bytes, write_text
from fieldmark.finder.dataset import TRAIN, VALID
from fieldmark.finder.finder_run import FinderRun, create_detector
from fieldmark.finder.learner import fit, make_learner
from fieldmark.finder.loaders import make_scene_loaders
from fieldmark.finder.scenes import Sources
from fieldmark.finder.sources import load_sources
from fieldmark.finder.teacher import find_boxes
from fieldmark.recipe import FinderRecipe


def train_finder(recipe: FinderRecipe, folder: Path | str | None = None) -> pd.DataFrame:
    """Train a network, write its weights into a run's folder, and return its history.

    This is what finder.ipynb does before it exports. `folder` is the recipe's `out` by default.
    """
    run, boxes = FinderRun(folder or recipe.out), find_boxes(recipe)
    run.begin(recipe, boxes)
    train, valid = (load_sources(recipe, boxes, part) for part in (TRAIN, VALID))
    learn = create_learner(recipe, train, valid)
    history = fit(learn, recipe.epochs, recipe.learning_rate, recipe.backbone_rate, recipe.seed)
    write_results(run, learn, history)
    return history


def create_learner(recipe: FinderRecipe, train: Sources, valid: Sources) -> Learner:
    """Return a Learner around a new network, with scenes made of decoded photos."""
    dls = make_scene_loaders(
        train,
        valid,
        recipe.size,
        -(-recipe.scenes // recipe.epochs),
        recipe.valid_scenes,
        recipe.batch_size,
        recipe.num_workers,
        recipe.seed,
        recipe.whole_share,
        recipe.fine_size,
    )
    return make_learner(create_detector(recipe), dls, recipe.weight_decay)


def write_results(run: FinderRun, learn: Learner, history: pd.DataFrame) -> None:
    """Write the weights of the best and of the last epoch, and the figures of all epochs."""
    best = {name: value.cpu().contiguous() for name, value in learn.model.state_dict().items()}
    write_bytes(run.last_file, save(learn.last_weights))
    write_bytes(run.best_file, save(best))
    write_text(run.history_file, history.to_csv(index=False, float_format="%.6g"))
