"""Figures of the finder's training: scenes with boxes, the course of training, what is found."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from fieldmark.finder.boxes import score_boxes, select_boxes
from fieldmark.finder.dataset import SceneDataset
from fieldmark.finder.detector import Detector
from fieldmark.plotting import BLUE, GREEN, ORANGE, RED, create_axes, styled

COLUMNS = 4


@styled
def show_scenes(dataset: SceneDataset, numbers: Sequence[int] = range(12)) -> Figure:
    """Show scenes of a data set with the boxes of their birds."""
    figure, axes = create_grid(len(numbers))
    for each, number in zip(axes, numbers, strict=False):
        pixels, boxes = dataset.scene(number)
        show_photo(each, pixels)
        draw_boxes(each, boxes, GREEN)
    return figure


@styled
@torch.no_grad()
def show_found(
    detector: Detector, dataset: SceneDataset, numbers: Sequence[int], threshold: float
) -> Figure:
    """Show scenes with their birds (dashed), and the boxes of `threshold` and more with scores."""
    figure, axes = create_grid(len(numbers))
    for each, number in zip(axes, numbers, strict=False):
        pixels, boxes = dataset.scene(number)
        score, box = score_boxes(detector.cpu().eval()(torch.from_numpy(pixels)[None]))
        found, scores = select_boxes(score[0], box[0], pixels.shape[1::-1], threshold)
        show_photo(each, pixels)
        draw_boxes(each, boxes, GREEN, linestyle="--")
        draw_boxes(each, found.numpy(), ORANGE)
        for (left, top, *_), value in zip(found.tolist(), scores.tolist(), strict=True):
            each.text(left, top, f"{value:.2f}", color="white", backgroundcolor=ORANGE, fontsize=7)
    return figure


@styled
def plot_training(history: pd.DataFrame) -> Figure:
    """Plot the losses by epoch, the share of birds found, and their mean overlap."""
    figure, ((losses, shares),) = create_axes(9, 3.4, 1, 2)
    epoch, best = history["epoch"] + 1, history.loc[history["kept"]].iloc[0]
    losses.plot(epoch, history["train_loss"], color=BLUE, marker=".", label="train")
    losses.plot(epoch, history["valid_loss"], color=RED, marker=".", linestyle="--", label="valid")
    losses.set(title="Loss", xlabel="epoch", yscale="log")
    losses.legend()
    shares.plot(epoch, history["found"], color=GREEN, marker=".", label="found")
    shares.plot(epoch, history["mean_iou"], color=BLUE, marker=".", label="mean overlap")
    shares.plot(best["epoch"] + 1, best["mean_iou"], "o", color=BLUE, fillstyle="none")
    shares.set(title="Birds of held-out scenes; circle: the epoch kept", xlabel="epoch")
    shares.set_ylim(0, 1)
    shares.legend()
    for axes in (losses, shares):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def create_grid(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with a place for each of `count` photos."""
    rows = -(-count // COLUMNS)
    figure, axes = create_axes(2.6 * COLUMNS, 2.1 * rows, rows, COLUMNS)
    for each in axes.flat:
        each.axis("off")
    return figure, list(axes.flat)


def show_photo(axes: Axes, pixels: np.ndarray) -> None:
    """Show a photo without axes."""
    axes.imshow(pixels)
    axes.set(xlim=(0, pixels.shape[1]), ylim=(pixels.shape[0], 0))


def draw_boxes(axes: Axes, boxes: np.ndarray, colour: str, **options) -> None:
    """Draw boxes, given by their corners [n, 4]."""
    for left, top, right, bottom in boxes:
        outline = Rectangle((left, top), right - left, bottom - top, fill=False, **options)
        outline.set(edgecolor=colour, linewidth=1.5)
        axes.add_patch(outline)
