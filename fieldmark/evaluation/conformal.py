"""Prediction sets and thresholds with guaranteed coverage: split conformal prediction."""

import numpy as np

from birds.prediction_set import LAC, RAPS, nonconformity_scores

RANDOM_HALVES = 100
SOURCES = {LAC: "Sadinle et al. 2019", RAPS: "Angelopoulos et al. 2021"}


def conformal_quantile(
    scores: np.ndarray, level: float, weight: np.ndarray | None = None
) -> float | None:
    """Return the bound that a further photo's score meets with probability `level` at least.

    That is the ceil((n + 1) level)-th smallest of n scores (Vovk et al. 2005), or the midpoint
    between it and the next one, so that a score that another number of threads computes slightly
    differently stays on the same side. None where there are too few scores for the guarantee.

    `weight` [n] are those of versions of photos, 1 in sum for each photo; the bound then holds for
    a further photo of which one version is drawn by weight (Lee et al. 2023).
    """
    weight = np.ones(len(scores)) if weight is None else weight
    order = np.argsort(scores, kind="stable")
    reached = np.round(weight[order].cumsum(), 9)
    needed = round(level * (weight.sum() + 1), 9)
    position = int(np.searchsorted(reached, needed))
    if position >= len(scores):
        return None
    return float(scores[order][position:][:2].mean())


def ordered_scores(probability: np.ndarray, truth: np.ndarray, method: str):
    """Return nonconformity [n, C] of labels, most probable first, and the truth's position [n]."""
    order = (-probability).argsort(1, kind="stable")
    ordered = np.take_along_axis(probability, order, 1).astype(np.float64)
    return nonconformity_scores(ordered, method), (order == truth[:, None]).argmax(1)


def fit_rule(
    probability: np.ndarray,
    truth: np.ndarray,
    level: float,
    method: str,
    weight: np.ndarray | None = None,
) -> dict | None:
    """Return the rule of prediction sets that hold the true label with probability `level`.

    None where there are too few photos for the guarantee; `weight` as for `conformal_quantile`.
    """
    scores, position = ordered_scores(probability, truth, method)
    threshold = conformal_quantile(scores[np.arange(len(truth)), position], level, weight)
    if threshold is None:
        return None
    source = SOURCES[method]
    return {"method": method, "source": source, "level": level, "threshold": threshold}


def apply_rule(probability: np.ndarray, truth: np.ndarray, rule: dict | None):
    """Return whether each photo's prediction set holds the truth, bool [n], and its size, int [n].

    The sets are those of the function, for many photos at once.
    """
    scores, position = ordered_scores(probability, truth, rule["method"] if rule else LAC)
    threshold = rule["threshold"] if rule else -np.inf
    size = np.maximum((scores <= threshold).sum(1), 1)
    return position < size, size


def compare_methods(
    probability: np.ndarray, truth: np.ndarray, level: float, seed: int = 0
) -> dict[str, dict] | None:
    """Return mean `coverage` and mean `size` of LAC and RAPS sets over random halves of the photos.

    One half sets the threshold, the other is measured. None where half the photos are too few.
    """
    generator, results = np.random.default_rng(seed), {LAC: [], RAPS: []}
    for _ in range(RANDOM_HALVES):
        order = generator.permutation(len(truth))
        fitted, measured = order[: len(order) // 2], order[len(order) // 2 :]
        for method, values in results.items():
            rule = fit_rule(probability[fitted], truth[fitted], level, method)
            if rule is None:
                return None
            covered, size = apply_rule(probability[measured], truth[measured], rule)
            values.append((covered.mean(), size.mean()))
    means = {method: np.mean(values, 0) for method, values in results.items()}
    return {
        method: {"coverage": round(float(coverage), 4), "size": round(float(size), 4)}
        for method, (coverage, size) in means.items()
    }


def choose_method(compared: dict[str, dict] | None) -> str:
    """Return the method with the smaller sets; LAC, the simpler one, where they are equal."""
    if compared is None:
        return LAC
    return min(compared, key=lambda method: compared[method]["size"])
