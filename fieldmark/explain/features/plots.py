"""Figures of synthetic images, each beside photos."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from fieldmark.evaluation.galleries import show_photo
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.features import channels
from fieldmark.explain.features.channels import FACETS, Channel
from fieldmark.explain.features.feature_maps import compute_maps
from fieldmark.explain.features.grids import factorise_maps, plot_grid
from fieldmark.explain.features.objectives import contrast, direction, label, total
from fieldmark.explain.features.optimise import visualise
from fieldmark.explain.features.samples import Sample
from fieldmark.explain.features.stages import NO_MAPS, Stages
from fieldmark.plotting import create_axes, plot_sentence, styled

WIDTH = 1.5  # inches of an image


def draw_channels(stages: Stages, sample: Sample, **options: Any) -> Figure:
    """Optimise and show selective channels of four depths; `options` go to `visualise`."""
    chosen = channels.choose_channels(sample)
    if not chosen:
        return plot_sentence(NO_MAPS)
    objective = channels.channels_objective(chosen, sample)
    images = visualise(stages, objective, batch=len(chosen), **options)
    photos = [channels.exciting_photos(sample, each)[0] for each in chosen]
    return plot_channels(chosen, images, np.stack(photos))


def draw_facets(stages: Stages, sample: Sample, **options: Any) -> Figure:
    """Optimise and show the facets of a channel of each of the two last stages."""
    chosen = channels.choose_channels(sample, depths=len(stages.channels), count=1)[-2:]
    if not chosen:
        return plot_sentence(NO_MAPS)
    objective = channels.facets_objective(chosen, sample)
    images = visualise(stages, objective, batch=len(chosen) * (2 + FACETS), **options)
    photos = [channels.exciting_photos(sample, each, 3) for each in chosen]
    return plot_facets(chosen, images, photos)


def draw_labels(explained: ExplainedRun, stages: Stages, count: int = 4, **options: Any) -> Figure:
    """Optimise and show what raises the logits of `choose_labels`, alone and against a rival's."""
    chosen = channels.choose_labels(explained, count)
    rivals = [channels.find_rival(explained, index) for index in chosen]
    pairs = enumerate(zip(chosen, rivals, strict=True), len(chosen))
    objectives = [label(index, image) for image, index in enumerate(chosen)]
    objectives += [contrast(index, rival, image) for image, (index, rival) in pairs]
    images = visualise(stages, total(objectives), batch=len(objectives), **options)
    photos = np.stack([channels.typical_photo(explained, index) for index in chosen])
    names, others = ([explained.labels[index] for index in each] for each in (chosen, rivals))
    return plot_labels(names, others, images, photos)


def draw_grid(stages: Stages, pixels: np.ndarray, **options: Any) -> Figure:
    """Factorise the last map of a photo, uint8 [S, S, 3], and show each part and its image."""
    maps = list(compute_maps(stages, pixels).items())
    if not maps:
        return plot_sentence(NO_MAPS)
    stage, last = maps[-1]
    strengths, directions = factorise_maps(last, seed=options.get("seed", 0))
    vectors = torch.from_numpy(directions).float()
    objective = total([direction(stage, vector, image) for image, vector in enumerate(vectors)])
    images = visualise(stages, objective, batch=len(vectors), **options)
    return plot_grid(pixels, strengths, images)


@styled
def plot_channels(chosen: list[Channel], images: np.ndarray, photos: np.ndarray) -> Figure:
    """Show the image of each channel and the photo that excites it most, a row for each stage.

    `images` and `photos` are uint8 [channels, size, size, 3], in the order of `chosen`.
    """
    stages = list(dict.fromkeys(each.stage for each in chosen))
    columns = max(sum(each.stage == stage for each in chosen) for stage in stages)
    figure, axes = create_axes(
        2 * WIDTH * columns + 0.6, (WIDTH + 0.2) * len(stages), len(stages), 2 * columns
    )
    for each in axes.flat:
        each.set_axis_off()
    for row, stage in zip(axes, stages, strict=True):
        numbers = [number for number, each in enumerate(chosen) if each.stage == stage]
        for place, number in enumerate(numbers):
            for axes_, pixels in ((row[2 * place], images), (row[2 * place + 1], photos)):
                axes_.set_axis_on()
                show_photo(axes_, pixels[number])
            row[2 * place].set_title(f"channel {chosen[number].index}", size=8)
        row[0].set_ylabel(stage)
    return figure


@styled
def plot_facets(chosen: list[Channel], images: np.ndarray, photos: list[np.ndarray]) -> Figure:
    """Show the images of `facets_objective`, and photos that excite each channel, a row each.

    `photos` holds those of each channel, uint8 [n, S, S, 3].
    """
    count = 2 + FACETS + len(photos[0])
    figure, axes = create_axes(WIDTH * count + 0.6, (WIDTH + 0.3) * len(chosen), len(chosen), count)
    rows = images.reshape(len(chosen), 2 + FACETS, *images.shape[1:])
    titles = ["neuron", "channel", "diverse images of the channel", *[""] * (FACETS - 1)]
    for number, (row, each) in enumerate(zip(axes, chosen, strict=True)):
        for cell, pixels in zip(row, [*rows[number], *photos[number]], strict=True):
            show_photo(cell, pixels)
        row[0].set_ylabel(f"{each.stage}\nchannel {each.index}")
    for cell, title in zip(axes[0], [*titles, "photos that excite it most"], strict=False):
        cell.set_title(title, size=9)
    return figure


@styled
def plot_labels(
    names: list[str], rivals: list[str], images: np.ndarray, photos: np.ndarray
) -> Figure:
    """Show what raises each label's logit, what raises it against a rival's, and a photo.

    `images` are uint8 [2 labels, size, size, 3], those of logits first; `photos` [labels, S, S, 3].
    """
    count = len(names)
    figure, axes = create_axes(2.4 * count, 7.9, 3, count)
    for number, (upper, middle, lower) in enumerate(axes.T):
        show_photo(upper, images[number])
        show_photo(middle, images[count + number])
        show_photo(lower, photos[number])
        upper.set_title(names[number], loc="center")
        middle.set_title(f"and not {rivals[number]}", loc="center", size=9)
    for row, text in zip(axes, ("for the logit", "against a rival", "a photo"), strict=True):
        row[0].set_ylabel(text)
    return figure
