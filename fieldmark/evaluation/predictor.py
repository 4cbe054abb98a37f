"""What predicts prepared photos: a network, or the model file made of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from birds.classifier import Classifier
from fieldmark.evaluation.predictions import Predictions, from_probability
from fieldmark.network.network import Network


class Predictor(NamedTuple):
    """Predicts photos prepared with a size and a resampling filter.

    `predict` takes pixels, uint8 [N, S, S, 3], and the facts that `describe_photos` returns.
    """

    size: int
    filter: str
    labels: list[str]
    predict: Callable[[np.ndarray, dict[str, Any]], Predictions]

    @classmethod
    def of_network(cls, network: Network) -> "Predictor":
        """Return what predicts by a network; there are no out-of-distribution scores."""

        def predict(pixels: np.ndarray, facts: dict[str, Any]) -> Predictions:
            logits, embedding = (values.numpy() for values in network.forward_pixels(pixels))
            return Predictions(
                logits=logits, embedding=embedding, label_index=network.label_index, **facts
            )

        preparation = network.preparation
        return cls(preparation.size, preparation.filter, network.labels, predict)

    @classmethod
    def of_file(cls, classifier: Classifier) -> "Predictor":
        """Return what predicts by a model file, with its scores and temperature."""

        def predict(pixels: np.ndarray, facts: dict[str, Any]) -> Predictions:
            outputs, temperature = classifier.predict(pixels), classifier.card["temperature"]
            columns = {"embedding": outputs.embedding, "ood_score": outputs.unknown}
            return from_probability(outputs.probability, temperature, **columns, **facts)

        return cls(classifier.size, classifier.filter, classifier.labels, predict)
