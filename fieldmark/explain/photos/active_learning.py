"""Choose photos to label: typical ones, uncertain ones, or at random; and simulate what it brings.

Typical ones help where few photos have labels, uncertain ones where many have (Hacohen et al.,
"Active learning on a budget: opposite strategies suit high and low budgets", 2022).
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import softmax
from sklearn.cluster import MiniBatchKMeans
from sklearn.preprocessing import normalize

from fieldmark.explain.photos.learning_curves import predict_others

MAX_CLUSTERS = 500  # of TypiClust, as are the numbers below
MIN_CLUSTER = 5  # photos; smaller clusters come last
NEIGHBOURS = 20  # whose mean distance says how typical a photo is


def choose_typical(
    features: np.ndarray, labelled: np.ndarray, count: int, seed: int = 0
) -> np.ndarray:
    """Return the rows of `count` photos to label, first choice first, by TypiClust (TPC-RP).

    `features` [n, D] are of all photos, `labelled` [n] says which have labels. The photos are
    divided into a cluster for each label there will be. The largest cluster with the fewest labels
    is next, and of that the photo in the densest place.
    """
    features = np.asarray(normalize(features))
    clusters = min(int(labelled.sum()) + count, MAX_CLUSTERS, len(features))
    kmeans = MiniBatchKMeans(clusters, batch_size=2048, n_init=1, random_state=seed)
    cluster = kmeans.fit_predict(features)
    waiting = {}
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        ranked = members[np.argsort(-typicality(features[members]), kind="stable")]
        waiting[number] = list(ranked[~labelled[ranked]])
    size = np.bincount(cluster, minlength=clusters)
    labels = np.bincount(cluster[labelled], minlength=clusters)
    chosen: list[int] = []
    while len(chosen) < min(count, int((~labelled).sum())):
        number = min(
            (each for each in waiting if waiting[each]),
            key=lambda each: (size[each] < MIN_CLUSTER, labels[each], -size[each], each),
        )
        chosen.append(int(waiting[number].pop(0)))
        labels[number] += 1
    return np.array(chosen, int)


def typicality(features: np.ndarray) -> np.ndarray:
    """Return the inverse mean distance of each photo [n, D] to its nearest NEIGHBOURS, [n]."""
    neighbours = min(NEIGHBOURS, len(features) - 1)
    if neighbours < 1:
        return np.zeros(len(features))
    squared = 2 - 2 * features @ features.T  # of vectors of length 1
    distance = np.sqrt(np.sort(squared.clip(0), axis=1)[:, 1 : neighbours + 1])
    return 1 / (distance.mean(1) + 1e-5)


def margin(probability: np.ndarray) -> np.ndarray:
    """Return the difference of the two highest probabilities [n, C] (Scheffer et al. 2001), [n]."""
    second, first = np.partition(probability, -2, axis=1)[:, -2:].T
    return first - second


def choose_photos(
    strategy: str, features: np.ndarray, truth: np.ndarray, labelled: np.ndarray, count: int, seed
) -> np.ndarray:
    """Return the rows of `count` photos to label, by `typical`, `uncertain` or `random`.

    `truth` [n] is read of `labelled` photos only. Without two labels no photo is uncertain: the
    choice is random.
    """
    if strategy == "typical":
        return choose_typical(features, labelled, count, seed)
    rest = np.flatnonzero(~labelled)
    if strategy == "random" or len(np.unique(truth[labelled])) < 2:
        return np.random.default_rng(seed).permutation(rest)[:count]
    logits = fit_quietly(features[labelled], truth[labelled], features[rest])[0]
    return rest[np.argsort(margin(softmax(logits, axis=1)), kind="stable")[:count]]


def fit_quietly(
    features: np.ndarray, truth: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `predict_others` does, without the warning that most labels have one photo."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")
        return predict_others(features, truth, others)


def simulate_labelling(
    strategies: Sequence[str],
    budgets: Sequence[int],
    pool: tuple[np.ndarray, np.ndarray],
    judges: tuple[np.ndarray, np.ndarray],
    seed: int = 0,
    known: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] | None = None,
) -> np.ndarray:
    """Return which photos a probe gets right after each round of labelling, bool [rounds, m].

    In round i the strategy i labels photos of the `pool`, features [n, D] and labels [n], up to
    `budgets` [rounds] in all. `judges` are the features and labels of m other photos. Calls that
    start with the same strategies share these rounds if they share `known`.
    """
    (features, truth), (others, expected) = pool, judges
    known = {} if known is None else known
    labelled, correct = np.zeros(len(truth), bool), []
    for number, budget in enumerate(budgets):
        done = tuple(strategies[: number + 1])
        if done not in known:
            count, labelled = int(budget) - int(labelled.sum()), labelled.copy()
            arguments = features, truth, labelled, count, seed + number
            labelled[choose_photos(strategies[number], *arguments)] = True
            logits, labels = fit_quietly(features[labelled], truth[labelled], others)
            known[done] = labelled, labels[logits.argmax(1)] == expected
        labelled, right = known[done]
        correct.append(right)
    return np.array(correct)
