"""Thresholds with a promise, from photos that played no part: split conformal prediction."""

import numpy as np

from birds.prediction_set import LAC, RAPS, nonconformity_scores

HALVES = 100
SOURCES = {LAC: "Sadinle et al. 2019", RAPS: "Angelopoulos et al. 2021"}


def quantile(scores: np.ndarray, level: float) -> float | None:
    """Return what a further photo's score stays at or below, at least `level` of the time.

    That is the ceil((n + 1) level)-th smallest of n scores (Vovk et al. 2005), or what lies in the
    middle between it and the next one: then no score that is computed a little otherwise, by
    another number of threads, falls on the other side. None where there are too few scores for any
    such promise.
    """
    place = int(np.ceil(round((len(scores) + 1) * level, 9)))
    return float(np.sort(scores)[place - 1 :][:2].mean()) if 0 < place <= len(scores) else None


def ranked(probability: np.ndarray, truth: np.ndarray, method: str):
    """Return the nonconformity [n, C] of labels, the likeliest first, and the truth's place [n]."""
    order = (-probability).argsort(1, kind="stable")
    ordered = np.take_along_axis(probability, order, 1).astype(np.float64)
    return nonconformity_scores(ordered, method), (order == truth[:, None]).argmax(1)


def rule(probability: np.ndarray, truth: np.ndarray, level: float, method: str) -> dict | None:
    """Return the rule of a shortlist that holds the true label at least `level` of the time.

    None where there are too few photos for that.
    """
    scores, place = ranked(probability, truth, method)
    threshold = quantile(scores[np.arange(len(truth)), place], level)
    if threshold is None:
        return None
    return {
        "method": method,
        "source": SOURCES[method],
        "level": level,
        "threshold": threshold,
    }


def lists(probability: np.ndarray, truth: np.ndarray, chosen: dict | None):
    """Return whether each photo's shortlist holds the truth, bool [n], and its length, int [n].

    As `birds.prediction_set.prediction_set` makes it, for many photos at once.
    """
    scores, place = ranked(probability, truth, chosen["method"] if chosen else LAC)
    threshold = chosen["threshold"] if chosen else -np.inf
    size = np.maximum((scores <= threshold).sum(1), 1)
    return place < size, size


def compare(
    probability: np.ndarray, truth: np.ndarray, level: float, seed: int = 0
) -> dict[str, dict] | None:
    """Compare LAC and RAPS sets: mean `coverage` and mean `size`, on halves of the photos.

    The threshold comes from one half of the photos, the lists are of the other, many times over.
    None where half the photos are too few.
    """
    chance, found = np.random.default_rng(seed), {LAC: [], RAPS: []}
    for _ in range(HALVES):
        order = chance.permutation(len(truth))
        half, other = order[: len(order) // 2], order[len(order) // 2 :]
        for method, measured in found.items():
            chosen = rule(probability[half], truth[half], level, method)
            if chosen is None:
                return None
            held, size = lists(probability[other], truth[other], chosen)
            measured.append((held.mean(), size.mean()))
    names = ("coverage", "size")
    return {
        method: {name: round(float(value), 4) for name, value in zip(names, mean, strict=True)}
        for method, mean in ((method, np.mean(each, 0)) for method, each in found.items())
    }


def choose(compared: dict[str, dict] | None) -> str:
    """Return the method with the smaller sets; LAC, the simpler one, where they are equal."""
    if compared is None:
        return LAC
    return min(compared, key=lambda method: compared[method]["size"])
