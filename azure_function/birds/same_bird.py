"""Combine the outputs of a model for several photos of one bird into one answer.

The combined probabilities and the combined unknown score are means over the photos. Means keep one
photo's answer as it is, and of photos that are nearly the same they claim no more than one of them
does; a product would. `python -m benchmarks.bursts` compares ways.
"""

from collections.abc import Sequence

import numpy as np


def combine_outputs(probability: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the probabilities [C] and the unknown score of one bird in N photos.

    `probability` [N, C] and `unknown` [N] are outputs of the model. The order of the photos does
    not matter.
    """
    ordered = np.sort(probability, axis=0), np.sort(unknown)  # sums of floats depend on order
    combined, score = combine_groups(*ordered, starts=[0])
    return combined[0], float(score[0])


def combine_groups(
    probability: np.ndarray, unknown: np.ndarray, starts: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities [G, C] and the unknown scores [G] of G birds.

    `probability` [N, C] and `unknown` [N] are outputs for the photos of the first bird, then those
    of the second, and so on; `starts` [G] are the rows of each bird's first photo.
    """
    counts = np.diff([*starts, len(unknown)])
    totals = np.add.reduceat(probability, starts, axis=0, dtype=np.float64)
    scores = np.add.reduceat(unknown, starts, dtype=np.float64)
    means = totals / counts[:, None], scores / counts
    return means[0].astype(np.float32), means[1].astype(np.float32)
