"""Outputs of a model for photos, computed once and read by every later step."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from tqdm import tqdm

from birds.classifier import Classifier, Outputs
from fieldmark.data.parallel import map_threads
from fieldmark.data.subclasses import class_names
from fieldmark.network.network import Network
from fieldmark.network.subclasses import sum_to_labels

TINY = np.finfo(np.float32).tiny
PER_PHOTO = ("truth", "logits", "embedding", "splits", "ood_score", "subclass")  # arrays
PhotoSource = Path | Mapping[str, bytes]  # a folder that holds paths, or their bytes


@dataclass(frozen=True, eq=False)
class Predictions:
    """Outputs of a model with C labels for n photos.

    `truth` [n] is the index of the true label in `labels`, -1 where the model does not have it.
    `logits` [n, C] are those before the temperature, `embedding` [n, D] the pooled features,
    `splits` [n] the split of each photo, `ood_score` [n] is higher for less familiar photos,
    `subclass` [n] is the name of each photo's sub-class, or else of its label; these arrays are
    None where they were not computed. With `label_index` [B], the label of each sub-class, the
    logits are those of sub-classes, [n, B].
    """

    labels: list[str]
    paths: list[str]
    truth: np.ndarray
    logits: np.ndarray
    embedding: Any = None
    splits: Any = None
    temperature: float = 1.0
    ood_score: Any = None
    subclass: Any = None
    label_index: Any = None

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.paths)

    @cached_property
    def scaled_logits(self) -> np.ndarray:
        """Return the logits of the labels divided by the temperature, [n, C]."""
        return sum_to_labels(self.logits / self.temperature, self.label_index)

    @cached_property
    def probability(self) -> np.ndarray:
        """Return the probability of each label, [n, C]."""
        return softmax(self.scaled_logits, axis=1)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Return the index of the most probable label, [n]."""
        return self.probability.argmax(1)

    @cached_property
    def rank(self) -> np.ndarray:
        """Return how many labels come before the true one, [n]; of equals the first in `labels`."""
        true = self.probability_of_label[:, None]
        before = np.arange(len(self.labels)) < self.truth[:, None]
        return ((self.probability > true) | ((self.probability == true) & before)).sum(1)

    @property
    def correct(self) -> np.ndarray:
        """Return whether the most probable label is the true one, bool [n]."""
        return self.predicted == self.truth

    @property
    def confidence(self) -> np.ndarray:
        """Return the highest probability, [n]."""
        return self.probability.max(1)

    @cached_property
    def probability_of_label(self) -> np.ndarray:
        """Return the probability of the true label, [n]."""
        return self.probability[np.arange(len(self)), self.truth]

    @cached_property
    def table(self) -> pd.DataFrame:
        """List path, label, prediction, the probabilities of both, the label's rank, and the loss.

        The loss is the cross-entropy, whatever loss the network was trained with. Photos of
        sub-classes also have a column `subclass`.
        """
        names = np.array(self.labels)
        table = pd.DataFrame(
            {
                "path": self.paths,
                "label": names[self.truth],
                "predicted": names[self.predicted],
                "probability": self.confidence,
                "probability_of_label": self.probability_of_label,
                "rank": self.rank,
                "loss": -np.log(np.maximum(self.probability_of_label, TINY)),
            }
        )
        if self.subclass is None or (self.subclass == table["label"]).all():
            return table
        return table.assign(subclass=self.subclass)

    def select(self, rows: np.ndarray | Sequence[str]) -> "Predictions":
        """Return the predictions of some photos, given a boolean mask, indices or paths."""
        indices = np.asarray(rows)
        if indices.dtype.kind not in "bui":
            indices = pd.Series(np.arange(len(self)), self.paths).loc[list(indices)].to_numpy()
        chosen = {
            name: None if values is None else values[indices]
            for name in PER_PHOTO
            for values in (getattr(self, name),)
        }
        return replace(self, paths=list(np.array(self.paths, object)[indices]), **chosen)

    def of_split(self, name: str) -> "Predictions":
        """Return the predictions of the photos of one split."""
        return self.select(self.splits == name)

    def scaled(self, temperature: float) -> "Predictions":
        """Return the same predictions with another temperature."""
        return replace(self, temperature=temperature)

    def require_split(self, name: str, purpose: str) -> None:
        """Raise ValueError unless every photo is of the split that may serve this purpose."""
        splits = set() if self.splits is None else set(self.splits)
        if splits != {name}:
            listed = ", ".join(sorted(map(str, splits))) or "no split"
            raise ValueError(f"{purpose} uses photos of `{name}` only, but got {listed}.")


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of one model for several sets of photos as one."""
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in PER_PHOTO
        if getattr(parts[0], name) is not None
    }
    return replace(parts[0], paths=[path for part in parts for path in part.paths], **columns)


def read_photo(source: PhotoSource, path: str) -> bytes:
    """Return the bytes of a photo."""
    return source[path] if isinstance(source, Mapping) else (source / path).read_bytes()


def predict(
    networks: Sequence[Network], photos: pd.DataFrame, source: PhotoSource, batch_size: int = 16
) -> list[Predictions]:
    """Compute photos by one or several networks of the same labels, and decode each photo once.

    `photos` has columns `path` (as in `source`), `label` and `split`. The networks share the
    preparation of the first one. Small batches stay in a processor's cache: in batches of 16 a
    photo takes a CPU about 60 % of the time that it takes in batches of 64.
    """
    first = networks[0]
    outputs = [([], []) for _ in networks]
    batches = np.array_split(photos["path"], max(-(-len(photos) // batch_size), 1))
    with ThreadPoolExecutor() as pool:
        for paths in tqdm(batches, "Predicting", unit="batch", disable=None, leave=False):
            photo_bytes = (read_photo(source, path) for path in paths)
            pixels = list(pool.map(first.preparation.prepare, photo_bytes))
            for network, (logits, embeddings) in zip(networks, outputs, strict=True):
                batch_logits, batch_embedding = network.forward_pixels(np.stack(pixels))
                logits.append(batch_logits.numpy())
                embeddings.append(batch_embedding.numpy())
    facts: dict[str, Any] = describe_photos(photos, first.labels)
    facts["label_index"] = first.label_index
    return [
        Predictions(logits=np.concatenate(logits), embedding=np.concatenate(embedding), **facts)
        for logits, embedding in outputs
    ]


def predict_with_file(
    classifier: Classifier, photos: pd.DataFrame, source: PhotoSource
) -> Predictions:
    """Compute photos by a model file, one a thread, without HTTP; `photos` as for `predict`.

    The logits are those of the file's probabilities, so that its temperature is part of them.
    """

    def compute(path: str) -> Outputs:
        pixels = classifier.prepare_photo(read_photo(source, path)).pixels
        return classifier.predict(pixels[None], single_thread=True)

    outputs = map_threads(compute, list(photos["path"]))
    joined = Outputs(*(np.concatenate(values) for values in zip(*outputs, strict=True)))
    return from_probability(
        joined.probability,
        classifier.card["temperature"],
        embedding=joined.embedding,
        ood_score=joined.unknown,
        **describe_photos(photos, classifier.labels),
    )


def from_probability(probability: np.ndarray, temperature: float, **facts: Any) -> Predictions:
    """Return predictions with the logits that give probabilities [n, C] at a temperature."""
    logits = temperature * np.log(np.maximum(probability, TINY))
    return Predictions(logits=logits, temperature=temperature, **facts)


def describe_photos(photos: pd.DataFrame, labels: Sequence[str]) -> dict:
    """Return labels, paths, truth, splits and sub-classes of Predictions of a table of photos."""
    return {
        "labels": list(labels),
        "paths": list(photos["path"]),
        "truth": pd.Index(labels).get_indexer(pd.Index(photos["label"])),
        "splits": photos["split"].to_numpy(str),
        "subclass": class_names(photos).to_numpy(object),
    }
