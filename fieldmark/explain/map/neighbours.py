"""Votes of the nearest photos, in the space of embeddings or on a map."""

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

NEIGHBOURS = 5
PRECEDENCE = 1e-3  # that a neighbour has over the next one, where species tie


def to_unit_vectors(embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings [n, D] of length 1, whose Euclidean distances rank as cosine distances."""
    return np.asarray(normalize(np.asarray(embeddings, np.float32)))


def find_neighbours(
    judged: np.ndarray,
    reference: np.ndarray,
    k: int = NEIGHBOURS,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Return the rows of the `k` nearest reference points, nearest first, int [m, k].

    Points are [m, D] and [n, D]. `groups` are those of the judged [m] and of the reference [n]: a
    point of its own group, such as a photo itself or its near-duplicate, is no neighbour. Where
    fewer than `k` are left, -1 takes their place.
    """
    largest = 0 if groups is None else int(np.unique(groups[1], return_counts=True)[1].max())
    count = min(k + largest, len(reference))
    rows = NearestNeighbors(n_neighbors=count).fit(reference).kneighbors(judged)[1]
    if groups is None:
        excluded = np.zeros(rows.shape, bool)
    else:
        excluded = groups[1][rows] == groups[0][:, None]
    order = np.argsort(excluded, axis=1, kind="stable")  # those left first, nearest first
    rows = np.where(excluded, -1, rows)
    return np.take_along_axis(rows, order, axis=1)[:, :k]


def vote(neighbours: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the most frequent label of neighbours [m, k], of ties the nearest one's, int [m].

    `labels` [n] are those of the reference points. -1 without neighbours.
    """
    weight = (neighbours >= 0) * (1 - PRECEDENCE * np.arange(neighbours.shape[1]))
    counts = np.zeros((len(neighbours), labels.max(initial=0) + 1))
    rows = np.arange(len(neighbours))[:, None]
    np.add.at(counts, (rows, labels[neighbours]), weight)
    return np.where(counts.any(1), counts.argmax(1), -1)
