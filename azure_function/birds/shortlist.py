"""The labels that hold the true one as often as the model card promises."""

import numpy as np

PLAIN, ADAPTIVE = "plain", "adaptive"
PENALTY, FREE = 0.1, 2  # of the adaptive list: for each place after so many


def nonconformity(ordered: np.ndarray, method: str) -> np.ndarray:
    """Score each label, given probabilities [..., C] from the highest down: low ones are listed.

    `plain` is what the label lacks of certainty (Sadinle et al. 2019). `adaptive` is what labels
    before it have together, and a penalty for each place after the second (Angelopoulos et al.
    2021, without its random share, so that one photo always gets one answer).
    """
    if method == PLAIN:
        return 1 - ordered
    places = np.arange(ordered.shape[-1])
    return ordered.cumsum(-1) - ordered + PENALTY * np.maximum(places + 1 - FREE, 0)


def shortlist(probability: np.ndarray, rule: dict | None) -> np.ndarray:
    """Return the places of the listed labels in `probability` [C], the likeliest first.

    The first answer is always among them, and alone where there is no rule.
    """
    order = (-probability).argsort(kind="stable")
    if rule is None:
        return order[:1]
    scores = nonconformity(probability[order].astype(np.float64), rule["method"])
    return order[: max(1, int(np.searchsorted(scores, rule["threshold"], side="right")))]
