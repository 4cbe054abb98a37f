"""Photos of different labels that are nearly the same: one of the labels may be wrong."""

import numpy as np
import pandas as pd

from fieldmark.data.duplicates import find_duplicates
from fieldmark.data.subclasses import class_names
from fieldmark.data.survey import survey_photos
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.pretrained import standardise_features

QUANTILE = 0.999  # of the similarities of photos of one label
MAX_PAIRS = 500
CHUNK = 1024  # photos that are compared with all others at once


def find_near_duplicates(explained: ExplainedRun, features: np.ndarray) -> pd.DataFrame:
    """List pairs of photos of different labels that are nearly the same, the most similar first.

    Columns: first, second (paths), first_label, second_label, distance (of their perceptual hashes
    in bits; missing if they differ by more than a copy) and similarity (cosine of standardised
    features [n, D]). A pair is listed for its hashes, or if it is more similar than all but one in
    a thousand pairs of one label. Labels are sub-classes, where the run has those.
    """
    photos = explained.photos
    names, labels = np.unique(class_names(photos).to_numpy(str), return_inverse=True)
    units = standardise_to_units(features)
    survey = survey_photos(photos[["path"]], explained.folder)
    number = pd.Series(np.arange(len(photos)), photos["path"])
    copies = find_duplicates(survey)
    pairs = pd.DataFrame(
        {
            "a": number[copies["first"]].to_numpy(),
            "b": number[copies["second"]].to_numpy(),
            "distance": copies["distance"].to_numpy(float),
        }
    )
    pairs = pairs[labels[pairs["a"]] != labels[pairs["b"]]]
    a, b = pair_similar_features(units, labels, find_threshold(units, labels))
    pairs = pd.concat([pairs, pd.DataFrame({"a": a, "b": b})], ignore_index=True)
    pairs[["a", "b"]] = np.sort(pairs[["a", "b"]].to_numpy(int), axis=1)
    pairs = pairs.drop_duplicates(["a", "b"])
    first, second = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    paths = photos["path"].to_numpy()
    table = pd.DataFrame(
        {
            "first": paths[first],
            "second": paths[second],
            "first_label": names[labels[first]],
            "second_label": names[labels[second]],
            "distance": pairs["distance"].to_numpy(float),
            "similarity": (units[first] * units[second]).sum(1),
        }
    )
    table = table.sort_values(["distance", "similarity"], ascending=[True, False])
    return table.head(MAX_PAIRS).reset_index(drop=True)


def standardise_to_units(features: np.ndarray) -> np.ndarray:
    """Return standardised features [n, D] as unit vectors, whose products are cosines."""
    scaled = standardise_features(features)
    return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-6)


def find_threshold(units: np.ndarray, labels: np.ndarray) -> float:
    """Return the similarity that QUANTILE of the pairs of one label [n] do not reach."""
    similarities = []
    for label in np.unique(labels):
        members = units[labels == label]
        upper = np.triu_indices(len(members), 1)
        similarities.append((members @ members.T)[upper])
    joined = np.concatenate(similarities)
    return float(np.quantile(joined, QUANTILE)) if len(joined) else np.inf


def pair_similar_features(
    units: np.ndarray, labels: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of rows of different labels above a similarity, as two index arrays.

    `labels` [n] are numbers. At most MAX_PAIRS of each chunk are returned, the most similar.
    """
    pairs = [np.empty((0, 2), int)]
    for start in range(0, len(units), CHUNK):
        similarity = units[start : start + CHUNK] @ units[start:].T
        similar = np.triu(similarity > threshold, 1)  # each pair once
        similar &= labels[start : start + CHUNK, None] != labels[None, start:]
        rows = np.argwhere(similar)
        best = np.argsort(-similarity[similar], kind="stable")[:MAX_PAIRS]
        pairs.append(rows[best] + start)
    joined = np.concatenate(pairs)
    return joined[:, 0], joined[:, 1]
