"""Build conformal prediction sets: labels that contain the true one with a given coverage."""

import numpy as np

LAC, RAPS = "lac", "raps"
PENALTY, FREE_RANKS = 0.1, 2  # RAPS: added per rank, after so many ranks


def nonconformity_scores(ordered: np.ndarray, method: str) -> np.ndarray:
    """Score labels, given their probabilities [..., C] in descending order; low scores conform.

    `lac` (least ambiguous set-valued classifier, Sadinle et al. 2019) is 1 - probability. `raps`
    (regularised adaptive prediction sets, Angelopoulos et al. 2021) is the total probability of
    more probable labels, plus a penalty per rank. It omits that paper's random term, so that a
    photo always gets the same set.
    """
    if method == LAC:
        return 1 - ordered
    ranks = np.arange(1, ordered.shape[-1] + 1)
    return ordered.cumsum(-1) - ordered + PENALTY * np.maximum(ranks - FREE_RANKS, 0)


def prediction_set(probability: np.ndarray, rule: dict | None) -> np.ndarray:
    """Return the indices of the labels in the set, most probable first, from `probability` [C].

    `rule` has `method` and `threshold`. The most probable label is always in the set, and is the
    only one without a rule.
    """
    order = (-probability).argsort(kind="stable")
    if rule is None:
        return order[:1]
    scores = nonconformity_scores(probability[order].astype(np.float64), rule["method"])
    return order[: max(1, int(np.searchsorted(scores, rule["threshold"], side="right")))]
