"""Measure the latency of model files side by side."""

import time
from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from birds.classifier import Classifier, drawn_photo

Key = TypeVar("Key", bound=Hashable)


def measure_latency(
    classifiers: Mapping[Key, Classifier], rounds: int, batch: int = 1
) -> dict[Key, np.ndarray]:
    """Return the milliseconds for a batch of prepared photos, [rounds], of each one, in turns.

    Turns make the times comparable, whatever else the machine does. Each timed run follows an
    untimed one, because the classifier before has filled the processor's caches.
    """
    photos = {
        key: np.repeat(drawn_photo(classifier.size)[None], batch, 0)
        for key, classifier in classifiers.items()
    }
    milliseconds = {key: [] for key in classifiers}
    for _ in range(rounds):
        for key, classifier in classifiers.items():
            classifier.predict(photos[key])
            started = time.perf_counter()
            classifier.predict(photos[key])
            milliseconds[key].append(1000 * (time.perf_counter() - started))
    return {key: np.array(values) for key, values in milliseconds.items()}
