"""Look at crops of photos with the species model, and keep those that look most familiar."""

from collections.abc import Callable, Sequence
from itertools import count
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


Cut = Callable[[int, Crop], np.ndarray]  # of a photo's number and a crop: uint8 [S, S, 3]
Predict = Callable[[np.ndarray], Any]  # of N crops: outputs with `unknown` [N]


def choose_look(
    proposals: Sequence[Crop],
    cut: Callable[[Crop], np.ndarray],
    predict: Predict,
    threshold: float | None,
) -> list[Look]:
    """Return the looks at one photo, as `choose_looks` does."""
    return choose_looks([proposals], lambda _, crop: cut(crop), predict, threshold)[0]


def choose_looks(
    proposals: Sequence[Sequence[Crop]], cut: Cut, predict: Predict, threshold: float | None
) -> list[list[Look]]:
    """Look at crops of N photos, each one's first one first; return each one's looks, best first.

    The other crops of a photo are looked at only if the first look is doubtful: if its score is
    over the `threshold` of unknown birds; without one it never is. The best look has the lowest
    score. All first looks are one batch, and all others another.
    """
    looks = take_looks([crops[:1] for crops in proposals], cut, predict)
    if threshold is not None:
        others = [
            crops[1:] if first[0].unknown > threshold else ()
            for crops, first in zip(proposals, looks, strict=True)
        ]
        more = take_looks(others, cut, predict)
        looks = [[*first, *rest] for first, rest in zip(looks, more, strict=True)]
    return [sorted(each, key=lambda look: look.unknown) for each in looks]


def take_looks(proposals: Sequence[Sequence[Crop]], cut: Cut, predict: Predict) -> list[list[Look]]:
    """Return the looks at some crops of each photo, predicted as one batch."""
    pixels = [cut(photo, crop) for photo, crops in enumerate(proposals) for crop in crops]
    if not pixels:
        return [[] for _ in proposals]
    outputs, numbers = predict(np.stack(pixels)), count()
    return [
        [Look(crop, pixels[number := next(numbers)], outputs, number) for crop in crops]
        for crops in proposals
    ]


def look_at_others(
    looks: Sequence[Sequence[Look]],
    proposals: Sequence[Sequence[Crop]],
    cut: Cut,
    predict: Predict,
) -> list[list[Look]]:
    """Return each photo's best look, and one at each of its `proposals` in other places.

    Looks that were taken before are not taken again.
    """
    others = [
        other_birds(each[0].crop, crops) for each, crops in zip(looks, proposals, strict=True)
    ]
    taken = [{look.crop: look for look in each} for each in looks]
    untried = [
        [crop for crop in crops if crop not in seen]
        for crops, seen in zip(others, taken, strict=True)
    ]
    for seen, new in zip(taken, take_looks(untried, cut, predict), strict=True):
        seen |= {look.crop: look for look in new}
    return [
        [each[0], *(seen[crop] for crop in crops)]
        for each, crops, seen in zip(looks, others, taken, strict=True)
    ]


def other_birds(best: Crop, proposals: Sequence[Crop]) -> list[Crop]:
    """Return the crops that show birds in other places than the best one."""
    others = [crop for crop in distinct([best, *proposals])[1:] if crop.box != best.box]
    return others[: MAX_BIRDS - 1]
