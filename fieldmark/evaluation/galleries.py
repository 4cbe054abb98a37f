"""Photos in rows: as training sees them, what was answered right and wrong, the worst mistakes."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import DataLoaders
from matplotlib.figure import Figure

from birds.photo import prepare
from fieldmark.data.loaders import augmented_loader
from fieldmark.evaluation.metrics import Answers
from fieldmark.plotting import BLUE, RED, panels, styled


@styled
def augmentation(dls: DataLoaders, count: int = 6, times: int = 2, seed: int = 0) -> Figure:
    """Show some training photos as prepared, and below them `times` as training may see them."""
    items = dls.train.items.sample(min(count, len(dls.train.items)), random_state=seed)
    loader = dls.test_dl(items.reset_index(drop=True), with_labels=True, bs=count, num_workers=0)
    rows = [("as prepared", pixels(dls, loader))]
    with augmented_loader(dls, loader) as shown:
        rows += [("in training", pixels(dls, shown)) for _ in range(times)]
    figure, grid = panels(1.8 * len(items), 1.85 * len(rows) + 0.6, len(rows), len(items))
    for line, (name, photos) in zip(grid, rows, strict=True):
        for axes, photo in zip(line, photos, strict=True):
            show(axes, photo)
        line[0].set_ylabel(name)
    for axes, label in zip(grid[0], items["label"], strict=True):
        axes.set_title(label, size=8, loc="center")
    figure.suptitle("The same photos before and after augmentation", x=0, ha="left")
    return figure


def pixels(dls: DataLoaders, loader) -> np.ndarray:
    """Return a loader's first batch of photos as one sees them, uint8 [n, size, size, 3]."""
    photos = loader.after_batch.decode(loader.one_batch())[0]
    photos = photos.as_subclass(torch.Tensor).cpu()
    return photos.permute(0, 2, 3, 1).numpy().astype(np.uint8)


def right(
    answers: Answers, folder: Path, size: int, filter: str, count: int = 12, seed: int = 0
) -> Figure:
    """Show some photos that were named rightly, drawn at random."""
    rows = answers.table[answers.rank == 0]
    rows = rows.sample(min(count, len(rows)), random_state=seed)
    return gallery(rows, folder, size, filter, "Some photos that were named rightly")


def wrong(
    answers: Answers, folder: Path, size: int, filter: str, count: int = 12, seed: int = 0
) -> Figure:
    """Show some photos that were named wrongly, drawn at random."""
    rows = answers.table[answers.rank > 0]
    rows = rows.sample(min(count, len(rows)), random_state=seed)
    return gallery(rows, folder, size, filter, "Some photos that were named wrongly")


def top_losses(answers: Answers, folder: Path, size: int, filter: str, count: int = 12) -> Figure:
    """Show the photos with the highest loss: those whose label seemed least likely."""
    rows = answers.table.nlargest(count, "loss")
    return gallery(rows, folder, size, filter, "The photos whose label seemed least likely")


@styled
def gallery(
    rows: pd.DataFrame, folder: Path, size: int, filter: str, title: str, columns: int = 4
) -> Figure:
    """Show photos as the model saw them, with label, answer and probabilities.

    `rows` are of an Answers' `table`, `folder` holds their paths, `size` (pixels) and
    `filter` are the model's.
    """
    if rows.empty:
        figure = Figure(figsize=(3 * columns, 0.5))
        figure.suptitle(f"{title}: there are none", x=0, ha="left")
        return figure
    high = -(-len(rows) // columns)
    figure, grid = panels(3 * columns, 3.2 * high + 0.5, high, columns)
    for axes in grid.flat[len(rows) :]:
        axes.set_axis_off()
    for axes, row in zip(grid.flat, rows.itertuples(), strict=False):
        show(axes, prepare((Path(folder) / row.path).read_bytes(), size, filter))
        said = f"{row.predicted}, {100 * row.probability:.0f} %"
        if row.label == row.predicted:
            axes.set_title(f"✓ {said}", size=9, loc="center", color=BLUE)
        else:
            meant = f"is {row.label}, {100 * row.probability_of_label:.1f} %"
            axes.set_title(f"✗ called {said}\n{meant}", size=9, loc="center", color=RED)
    figure.suptitle(title, x=0, ha="left")
    return figure


def show(axes, photo: np.ndarray) -> None:
    """Draw a photo, uint8 [height, width, 3], without an axis."""
    axes.imshow(photo)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
