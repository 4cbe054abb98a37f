"""Project the embeddings of photos to two dimensions, and measure what that loses."""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

from fieldmark.explain.map.neighbours import NEIGHBOURS, find_neighbours, to_unit_vectors, vote
from fieldmark.statistics import accuracy_row, difference_row

with warnings.catch_warnings():
    # umap announces, whenever it is imported, that its optional TensorFlow is not installed
    warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
    from umap import UMAP

METHODS = ("t-SNE", "UMAP", "PCA")
MAX_PHOTOS = 3000  # of a map
COMPONENTS = 50  # of PCA, from which t-SNE and UMAP start
PERPLEXITY = 30
UMAP_NEIGHBOURS = 15
TRUSTED_NEIGHBOURS = 10


def choose_rows(splits: np.ndarray, limit: int = MAX_PHOTOS, seed: int = 0) -> np.ndarray:
    """Return the rows of the photos of a map, sorted: all, or a random sample of `limit` photos.

    A sample holds the photos of `calibration` first, up to half of it. `splits` is [n].
    """
    order = np.random.default_rng(seed).permutation(len(splits))
    if len(order) <= limit:
        return np.arange(len(order))
    held_out = order[splits[order] == "calibration"][: limit // 2]
    rest = order[~np.isin(order, held_out)][: limit - len(held_out)]
    return np.sort(np.concatenate([held_out, rest]))


def project(embeddings: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return points [n, 2] of embeddings [n, D] by each of METHODS.

    t-SNE (van der Maaten and Hinton 2008) and UMAP (McInnes, Healy and Melville 2018) get the first
    50 principal components of unit vectors, and start from the first two: an informed start makes
    distances between groups meaningful (Kobak and Linderman 2021). Perplexity and neighbours are
    fewer for few photos.
    """
    vectors = to_unit_vectors(embeddings)
    n = len(vectors)
    count = min(COMPONENTS, *vectors.shape)
    components = PCA(count, random_state=seed).fit_transform(vectors)
    components = np.pad(components, ((0, 0), (0, max(0, 2 - count))))
    tsne = TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), init="pca", random_state=seed)
    neighbours = max(2, min(UMAP_NEIGHBOURS, n - 1))
    # one thread: with several, results could not be reproduced
    umap = UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1)
    points = (tsne.fit_transform(components), umap.fit_transform(components), components[:, :2])
    return dict(zip(METHODS, map(np.asarray, points), strict=True))


def measure_projections(
    points: Mapping[str, np.ndarray], embeddings: np.ndarray, truth: np.ndarray, splits: np.ndarray
) -> pd.DataFrame:
    """Measure how faithful maps are to the embeddings [n, D]; one row for each map, and for D.

    `trustworthiness` is that of Venna and Kaski (2001): 1 if the 10 nearest photos on the map are
    also near in D dimensions. `accuracy` is that of a vote of the 5 nearest `train` photos on the
    photos of `calibration`, with its Wilson interval; `difference` is to the vote in D dimensions,
    with its Bonett-Price interval and p of McNemar's exact test, the photos being the same. A
    projection sees all photos, but no label. `truth` is [n], `splits` [n].
    """
    vectors = to_unit_vectors(embeddings)
    train, judged = splits == "train", splits == "calibration"
    k = min(TRUSTED_NEIGHBOURS, (len(vectors) - 1) // 2)

    def judge(space: np.ndarray) -> np.ndarray:
        neighbours = find_neighbours(space[judged], space[train], min(NEIGHBOURS, train.sum()))
        return vote(neighbours, truth[train]) == truth[judged]

    in_full, rows = judge(vectors), []
    for name, space in {f"all {vectors.shape[1]:,} dimensions": vectors, **points}.items():
        correct = judge(space)
        row = {"map": name, "trustworthiness": trustworthiness(vectors, space, n_neighbors=k)}
        row |= accuracy_row(correct)
        if space is not vectors:
            row |= difference_row(correct, in_full)
        rows.append(row)
    return pd.DataFrame(rows)
