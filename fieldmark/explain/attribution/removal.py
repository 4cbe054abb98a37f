"""Deletion and insertion: how fast the best cells take a label's probability away, or bring it."""

import numpy as np
import torch
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur

from fieldmark.explain.label_logits import LabelLogits

CELLS = 14  # a side: cells are removed, since single pixels make a pattern of dots of their own
STEPS = 10
BLUR = 16  # the standard deviation of the blur is this share of the photo's side


def blur(photos: torch.Tensor) -> torch.Tensor:
    """Return photos [N, 3, S, S] without detail, from which insertion starts."""
    sigma = photos.shape[-1] / BLUR
    kernel = min(2 * int(2.5 * sigma) + 1, 2 * photos.shape[-1] - 1)
    return gaussian_blur(photos, [kernel, kernel], [sigma, sigma])


def rank_cells(values: np.ndarray, cells: int = CELLS, seed: int = 0) -> np.ndarray:
    """Return the rank of each cell, int [cells, cells], by mean attribution, highest first.

    `values` [H, W] are the attributions of one photo. Equal cells come in random order.
    """
    pooled = functional.adaptive_avg_pool2d(torch.from_numpy(values)[None, None], cells)
    tie = np.random.default_rng(seed).random(cells * cells)
    order = np.lexsort((tie, -pooled.numpy().ravel()))
    rank = np.empty(cells * cells, int)
    rank[order] = np.arange(cells * cells)
    return rank.reshape(cells, cells)


def replace_cells(
    photo: torch.Tensor, background: torch.Tensor, rank: np.ndarray, counts: np.ndarray
) -> torch.Tensor:
    """Return copies of a photo [3, S, S] with the first cells replaced by those of a background.

    `rank` [cells, cells] is the place of each cell, `counts` [K] the number of cells replaced in
    each copy. Returns [K, 3, S, S].
    """
    rows = len(rank) * torch.arange(photo.shape[-1]) // photo.shape[-1]
    pixel_rank = torch.from_numpy(rank)[rows][:, rows]
    replaced = pixel_rank[None] < torch.from_numpy(counts)[:, None, None]
    return torch.where(replaced[:, None], background, photo)


def remove_and_insert(
    photo: torch.Tensor, values: np.ndarray, steps: int = STEPS, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a photo's copies from whole to grey, and from blurred to whole, [steps + 1, 3, S, S].

    Both take the cells with the highest attribution in `values` [S, S] first.
    """
    rank = rank_cells(values, seed=seed)
    counts = np.linspace(0, rank.size, steps + 1).round().astype(int)
    removed = replace_cells(photo, torch.zeros_like(photo), rank, counts)
    inserted = replace_cells(blur(photo[None])[0], photo, rank, counts)
    return removed, inserted


def score_removal(
    logits: LabelLogits, photo: torch.Tensor, values: np.ndarray, target: int, seed: int = 0
) -> tuple[float, float]:
    """Return the deletion and the insertion score of attributions [S, S] of one photo [3, S, S].

    Each is the area below the curve of the label's probability, over the share of cells removed
    or inserted (RISE, Petsiuk et al. 2018): low deletion and high insertion are good.
    """
    removed, inserted = remove_and_insert(photo, values, seed=seed)
    with torch.no_grad():
        probability = logits(torch.cat([removed, inserted])).softmax(1)[:, target].numpy()
    deletion, insertion = (np.trapezoid(curve) / STEPS for curve in np.split(probability, 2))
    return float(deletion), float(insertion)
