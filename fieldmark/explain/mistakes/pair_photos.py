"""Photos that explain a pair of species: typical ones, confused ones, and the evidence in them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain.class_maps import compute_class_maps
from fieldmark.explain.explained_run import ExplainedRun


@dataclass(frozen=True, eq=False)
class PairPhotos:
    """Predictions of photos of `label`: `typical` ones, and those nearest to the `other` label."""

    explained: ExplainedRun
    label: int
    other: int
    typical: Predictions
    confused: Predictions

    @cached_property
    def pixels(self) -> np.ndarray:
        """Return the confused photos as the network sees them, uint8 [k, S, S, 3]."""
        return self.explained.prepare(self.confused.paths)

    @cached_property
    def typical_pixels(self) -> np.ndarray:
        """Return the typical photos as the network sees them, uint8 [k, S, S, 3]."""
        return self.explained.prepare(self.typical.paths)

    def compute_evidence(self, label: int) -> np.ndarray:
        """Return the signed evidence for a label in the confused photos, float32 [k, h, w].

        The difference of the maps of two labels is exact evidence: its mean plus a constant is the
        difference of the logits, where labels have no sub-classes.
        """
        return compute_class_maps(self.explained.network, self.pixels, [label] * len(self.pixels))


def choose_pair_photos(
    explained: ExplainedRun, label: int, other: int, typical: int = 2, confused: int = 1
) -> PairPhotos:
    """Choose photos of `label`: those nearest to its mean, and held-out ones most like `other`.

    The mean is that of the embeddings of its training photos. Where a label has no held-out photo,
    photos of training stand in.
    """
    predictions = explained.predictions
    own = predictions.select(predictions.truth == label)
    trained = own.splits == "train"
    centre = own.embedding[trained if trained.any() else slice(None)].mean(0)
    distance = np.linalg.norm(own.embedding - centre, axis=1)
    judges = own.select(~trained) if (~trained).any() else own
    order = np.argsort(-judges.probability[:, other], kind="stable")[:confused]
    nearest = np.argsort(distance, kind="stable")
    shown = set(np.array(judges.paths, object)[order])
    nearest = [row for row in nearest if own.paths[row] not in shown] or list(nearest)
    return PairPhotos(explained, label, other, own.select(nearest[:typical]), judges.select(order))
