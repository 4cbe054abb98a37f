"""The field marks that separate two species: regions whose occlusion turns one into the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from birds.classifier import Classifier
from fieldmark.evaluation.predictions import TINY
from fieldmark.explain.mistakes.patches import FILLS, Patch, average_patches, cover, list_patches
from fieldmark.statistics import wilson_interval

BATCH = 16  # photos that a model computes at once
BLURRED, MEAN_COLOUR = FILLS
Logits = Callable[[np.ndarray], np.ndarray]  # of photos, uint8 [N, S, S, 3] -> [N, C]


def served_logits(classifier: Classifier) -> Logits:
    """Return what computes the logarithms of the probabilities that a model file serves.

    Their differences are those of the logits of labels, at the temperature that is served.
    """

    def compute(pixels: np.ndarray) -> np.ndarray:
        starts = range(0, len(pixels), BATCH)
        parts = [classifier.predict(pixels[start : start + BATCH]).probability for start in starts]
        return np.log(np.maximum(np.concatenate(parts), TINY))

    return compute


@dataclass(frozen=True, eq=False)
class Occlusions:
    """What covering each of P patches does to n photos that a model calls `label`.

    `margin` [n] is the logit of `label` minus that of `other`, `drop` [n, P] how far it falls
    under each patch, `flips` bool [n, P] whether the answer becomes `other`, and `confirmed` bool
    [n] whether the patch of `find_patch` does so too when filled with the photo's mean colour.
    """

    size: int
    patches: list[Patch]
    margin: np.ndarray
    drop: np.ndarray
    flips: np.ndarray
    confirmed: np.ndarray

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.margin)

    @property
    def sides(self) -> np.ndarray:
        """Return the side of each patch in pixels, [P]."""
        return np.array([patch.side for patch in self.patches])

    def area(self, side: int) -> float:
        """Return the share of the photo that a patch covers."""
        return (side / self.size) ** 2

    def find_patch(self, row: int) -> Patch | None:
        """Return the smallest patch that flips a photo, None if none does."""
        return find_smallest(self.patches, self.drop[row], self.flips[row])

    def map_lost_lead(self, row: int) -> np.ndarray:
        """Return how much of the margin is lost under the smallest patches over each pixel, [S, S].

        1 is the whole lead of `label`, negative values are a greater lead.
        """
        smallest = self.sides == self.sides.min()
        patches = [patch for patch, kept in zip(self.patches, smallest, strict=True) if kept]
        lost = self.drop[row, smallest] / max(self.margin[row], TINY)
        return average_patches(patches, lost.clip(-1, 1), self.size)


def find_smallest(patches: Sequence[Patch], drop: np.ndarray, flips: np.ndarray) -> Patch | None:
    """Return the smallest patch that flips; of equal ones, that under which the margin falls most.

    `drop` and `flips` are [P].
    """
    rows = np.flatnonzero(flips)
    if not len(rows):
        return None
    return patches[min(rows, key=lambda row: (patches[row].side, -drop[row]))]


def occlude(
    compute: Logits,
    pixels: np.ndarray,
    label: int,
    other: int,
    patches: Sequence[Patch] | None = None,
) -> Occlusions:
    """Slide patches over photos, uint8 [n, S, S, 3], filled with the blurred photo.

    `label` and `other` are columns of the logits (occlusion, Zeiler and Fergus 2014).
    """
    size = pixels.shape[1]
    patches = list(list_patches(size) if patches is None else patches)
    margin, drop = np.zeros(len(pixels)), np.zeros((len(pixels), len(patches)))
    flips, confirmed = np.zeros(drop.shape, bool), np.zeros(len(pixels), bool)
    for row, photo in enumerate(pixels):
        logits = compute(np.concatenate([photo[None], cover(photo, patches, BLURRED)]))
        margins = logits[:, label] - logits[:, other]
        margin[row], drop[row] = margins[0], margins[0] - margins[1:]
        flips[row] = logits[1:].argmax(1) == other
        if patch := find_smallest(patches, drop[row], flips[row]):
            again = compute(cover(photo, [patch], MEAN_COLOUR))
            confirmed[row] = again[0].argmax() == other
    return Occlusions(size, patches, margin, drop, flips, confirmed)


def count_flips(occlusions: Occlusions) -> pd.DataFrame:
    """List for each size of patch how many photos one patch of that size or less can flip.

    Columns: `area` (share of the photo), `n`, `flipped`, their `share` with its Wilson interval
    (`low`, `high`), and `positions`, the share of all positions of this size that flip a photo.
    """
    rows = []
    for side in np.unique(occlusions.sides):
        flipped = int(occlusions.flips[:, occlusions.sides <= side].any(1).sum())
        share = wilson_interval(flipped, len(occlusions))
        rows.append(
            {
                "area": occlusions.area(side),
                "n": len(occlusions),
                "flipped": flipped,
                "share": share["value"],
                "low": share["interval"][0],
                "high": share["interval"][1],
                "positions": occlusions.flips[:, occlusions.sides == side].mean(),
            }
        )
    return pd.DataFrame(rows)
