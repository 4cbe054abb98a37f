"""Photos as training augments them: a gallery, and test-time augmentation (TTA)."""

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import DataLoaders, Learner, noop
from matplotlib.figure import Figure

from fieldmark.data.loaders import augmented_loader
from fieldmark.data.subclasses import class_names
from fieldmark.evaluation.galleries import show_photo
from fieldmark.evaluation.predictions import Predictions, describe_photos
from fieldmark.plotting import create_axes, styled

PLAIN_WEIGHT = 0.25  # of the photo as it is served, as in fastai's `tta`


@styled
def show_augmentation(dls: DataLoaders, count: int = 6, times: int = 2, seed: int = 0) -> Figure:
    """Show training photos as they are served, and below `times` as training may augment them."""
    items = dls.train.items.sample(min(count, len(dls.train.items)), random_state=seed)
    loader = dls.test_dl(items.reset_index(drop=True), with_labels=True, bs=count, num_workers=0)
    rows = [("as served", decode_batch(loader))]
    with augmented_loader(dls, loader) as augmented:
        rows += [("in training", decode_batch(augmented)) for _ in range(times)]
    figure, grid = create_axes(1.8 * len(items), 1.85 * len(rows) + 0.6, len(rows), len(items))
    for line, (name, photos) in zip(grid, rows, strict=True):
        for axes, photo in zip(line, photos, strict=True):
            show_photo(axes, photo)
        line[0].set_ylabel(name)
    for axes, label in zip(grid[0], class_names(items), strict=True):
        axes.set_title(label, size=8, loc="center")
    figure.suptitle("The same photos before and after augmentation", x=0, ha="left")
    return figure


def decode_batch(loader) -> np.ndarray:
    """Return a loader's first batch of photos as pixels, uint8 [n, size, size, 3]."""
    photos = loader.after_batch.decode(loader.one_batch())[0].as_subclass(torch.Tensor)
    return photos.cpu().permute(0, 2, 3, 1).numpy().astype(np.uint8)


def predict_with_views(learn: Learner, photos: pd.DataFrame, views: int) -> Predictions:
    """Predict photos by test-time augmentation with `views` random views of each.

    The views make up three quarters of the probability, as in fastai's `tta`, which would omit the
    transforms of the train loader alone. `photos` has columns `path`, `label` and `split`. The
    function serves a single view, so this only shows what more would add.
    """
    loader = learn.dls.test_dl(photos.reset_index(drop=True))
    with learn.no_bar(), learn.no_logging():
        served = predict_probability(learn, loader)
        with augmented_loader(learn.dls, loader) as augmented:
            mean = np.mean([predict_probability(learn, augmented) for _ in range(views)], 0)
    probability = PLAIN_WEIGHT * served + (1 - PLAIN_WEIGHT) * mean
    network = learn.network
    described = describe_photos(photos, network.labels) | {"label_index": network.label_index}
    return Predictions(logits=np.log(probability), **described)


def predict_probability(learn: Learner, loader) -> np.ndarray:
    """Return the probabilities [n, C] of a loader's photos, float64."""
    logits, _ = learn.get_preds(dl=loader, act=noop)
    return logits.as_subclass(torch.Tensor).double().softmax(1).numpy()
