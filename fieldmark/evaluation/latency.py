"""Take the time that model files take, side by side."""

import time

import numpy as np

from birds.classifier import Classifier, drawn_photo


def timed(classifiers: dict[object, Classifier], rounds: int) -> dict[object, np.ndarray]:
    """Take the milliseconds of a prepared photo, [rounds], of each classifier, in turns.

    In turns, so that they compare, whatever else the machine does meanwhile; and each time once
    before, untimed, since the one before has filled the processor's caches with its own numbers.
    """
    photos = {key: drawn_photo(each.size)[None] for key, each in classifiers.items()}
    spent = {key: [] for key in classifiers}
    for _ in range(rounds):
        for key, classifier in classifiers.items():
            classifier.predict(photos[key])
            started = time.perf_counter()
            classifier.predict(photos[key])
            spent[key].append(1000 * (time.perf_counter() - started))
    return {key: np.array(each) for key, each in spent.items()}
