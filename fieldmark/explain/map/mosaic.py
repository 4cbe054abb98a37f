"""A mosaic of photos in which similar photos are neighbours."""

from math import isqrt

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from fieldmark.evaluation.galleries import show_photo
from fieldmark.explain.map.neighbours import to_unit_vectors
from fieldmark.plotting import create_axes, styled
from fieldmark.statistics import bootstrap_interval

MAX_PHOTOS = 900
ARRANGEMENTS = 200  # random ones, to compare with


def arrange(points: np.ndarray, limit: int = MAX_PHOTOS, seed: int = 0) -> np.ndarray:
    """Return a square grid of rows of `points` [n, 2], int [side, side].

    A random sample of photos that fill a square is assigned to its cells, so that the sum of
    squared distances to their points, scaled to the unit square, is the lowest (linear assignment;
    Crouse 2016).
    """
    side = isqrt(min(len(points), limit))
    rows = np.random.default_rng(seed).permutation(len(points))[: side**2]
    low, high = points[rows].min(0), points[rows].max(0)
    scaled = (points[rows] - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    line = (np.arange(side) + 0.5) / side
    # the first row of an image is its top, and the highest on a map
    cells = np.stack(np.meshgrid(line, line[::-1]), -1).reshape(-1, 2)
    _, assigned = linear_sum_assignment(cdist(cells, scaled, "sqeuclidean"))
    return rows[assigned].reshape(side, side)


def measure_mosaic(grid: np.ndarray, embeddings: np.ndarray, seed: int = 0) -> dict:
    """Return how similar neighbours of a mosaic are: cosine similarity in D dimensions.

    `neighbours` is the mean over photos of that with the photos above, below and beside, with its
    bootstrap interval. `random` is the same of random arrangements of these photos, and its
    interval holds 95 % of them.
    """
    vectors = to_unit_vectors(embeddings)
    similarity = compute_similarity(grid, vectors)
    rng = np.random.default_rng(seed)
    shuffled = [
        compute_similarity(rng.permutation(grid.ravel()).reshape(grid.shape), vectors).mean()
        for _ in range(ARRANGEMENTS)
    ]
    low, high = np.quantile(shuffled, [0.025, 0.975])
    random = {"value": float(np.mean(shuffled)), "interval": [float(low), float(high)]}
    random |= {"n": ARRANGEMENTS, "method": "quantiles of random arrangements"}
    neighbours = bootstrap_interval((similarity,), np.mean, proportion=False, seed=seed)
    return {"neighbours": neighbours, "random": random}


def compute_similarity(grid: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the mean cosine similarity of each cell's photo to its neighbours, [cells]."""
    cells = vectors[grid]
    total, count = np.zeros(grid.shape), np.zeros(grid.shape)
    for axis in (0, 1):
        first, second = (
            (slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None))
        )
        cosine = (cells[first] * cells[second]).sum(-1)
        for part in (first, second):
            total[part] += cosine
            count[part] += 1
    return (total / np.maximum(count, 1)).ravel()


def build_mosaic(grid: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Return thumbnails, uint8 [n, S, S, 3], on a grid as one image, uint8 [side S, side S, 3]."""
    side, size = len(grid), thumbnails.shape[1]
    tiles = thumbnails[grid.ravel()].reshape(side, side, size, size, 3)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(side * size, side * size, 3)


@styled
def plot_mosaic(grid: np.ndarray, thumbnails: np.ndarray, measured: dict) -> Figure:
    """Draw a mosaic; its title compares `measured`, of `measure_mosaic`, with chance."""
    figure, ((axes,),) = create_axes(10, 10.4)
    show_photo(axes, build_mosaic(grid, thumbnails))
    near, random = measured["neighbours"], measured["random"]
    low, high = near["interval"]
    axes.set_title(
        f"{grid.size} photos by similarity. Cosine similarity of neighbours: {near['value']:.2f} "
        f"({low:.2f} to {high:.2f}), in random order: {random['value']:.2f}"
    )
    return figure
