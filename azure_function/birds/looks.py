"""Look at crops of a photo with the species model, and keep the one that looks most familiar."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .crops import MAX_BIRDS, Crop, distinct


class Look(NamedTuple):
    """A crop with its pixels, and `outputs` of a batch in which it is row `index`."""

    crop: Crop
    pixels: np.ndarray
    outputs: Any
    index: int

    @property
    def unknown(self) -> float:
        """Return the out-of-distribution score of the crop."""
        return float(self.outputs.unknown[self.index])


def choose_look(
    proposals: Sequence[Crop],
    cut: Callable[[Crop], np.ndarray],
    predict: Callable[[np.ndarray], Any],
    threshold: float | None,
) -> list[Look]:
    """Look at crops, the first one first, and at the others only if it is doubtful; best first.

    `cut` returns the pixels of a crop, uint8 [S, S, 3]; `predict` takes those of N crops and
    returns outputs with `unknown` [N]. The first look is doubtful if its score is over the
    `threshold` of unknown birds; without one it never is. The best look has the lowest score.
    """
    looks = take_looks(proposals[:1], cut, predict)
    if threshold is not None and looks[0].unknown > threshold:
        looks += take_looks(proposals[1:], cut, predict)
    return sorted(looks, key=lambda look: look.unknown)


def take_looks(
    proposals: Sequence[Crop],
    cut: Callable[[Crop], np.ndarray],
    predict: Callable[[np.ndarray], Any],
) -> list[Look]:
    """Return the looks at some crops, predicted as one batch."""
    if not proposals:
        return []
    pixels = np.stack([cut(crop) for crop in proposals])
    outputs = predict(pixels)
    return [Look(crop, pixels[i], outputs, i) for i, crop in enumerate(proposals)]


def look_at_others(
    looks: Sequence[Look],
    proposals: Sequence[Crop],
    cut: Callable[[Crop], np.ndarray],
    predict: Callable[[np.ndarray], Any],
) -> list[Look]:
    """Return the best look, and one at each of the `proposals` that show birds in other places.

    Looks that were taken before are not taken again.
    """
    best, taken = looks[0], {look.crop: look for look in looks}
    others = [c for c in distinct([best.crop, *proposals])[1:] if c.box != best.crop.box]
    others = others[: MAX_BIRDS - 1]
    new = take_looks([crop for crop in others if crop not in taken], cut, predict)
    taken |= {look.crop: look for look in new}
    return [best, *(taken[crop] for crop in others)]
