"""Put a model's outputs for one photo into the words and numbers of the HTTP API."""

import time
from collections.abc import Callable

from .classifier import Classifier, Outputs
from .photo import Photo, PhotoError
from .verdict import verdict


def attempt(
    classifier: Classifier, data: bytes, top: int, heatmap: bool, crowded: Callable[[], bool]
) -> dict | PhotoError:
    """Prepare, predict and encode; or return the photo's error, so that others get their answers.

    `crowded` tells whether other photos are worked on. The milliseconds of each step are in the
    answer.
    """
    started = time.perf_counter()
    try:
        prepared = classifier.read(data)
    except PhotoError as error:
        return error
    ready = time.perf_counter()
    outputs = classifier.predict(prepared.pixels[None], crowded())
    done = time.perf_counter()
    seconds = {"prepare": ready - started, "model": done - ready, "total": done - started}
    return answer(classifier, prepared, outputs, top, heatmap) | {
        "milliseconds": {step: round(1000 * spent, 3) for step, spent in seconds.items()}
    }


def answer(classifier: Classifier, photo: Photo, outputs: Outputs, top: int, heatmap: bool) -> dict:
    """Encode the answer for one photo, the first in `outputs`.

    `top` is clamped to 1 and the number of labels; `heatmap` is None where it wasn't asked for, and
    where the card says that the model has none.
    """
    heatmap = heatmap and classifier.card.get("heatmap", {}) is not None
    probability = outputs.probability[0]
    order = (-probability).argsort(kind="stable")[: max(1, min(top, len(probability)))]
    known = [classifier.card["labels"][index] for index in order]
    return {
        "predictions": [
            {
                "label": facts["label"],
                "common_name": facts["common_name"],
                "scientific_name": facts["scientific_name"],
                "probability": float(probability[index]),
            }
            for facts, index in zip(known, order, strict=True)
        ],
        "answer": verdict(probability, outputs.unknown[0], classifier.card),
        "photo": {"width": photo.width, "height": photo.height, "crop": list(photo.crop)},
        "heatmap": encode_map(outputs.heatmap[0]) if heatmap else None,
        "model": classifier.version,
    }


def encode_map(heatmap) -> dict:
    """Encode a map [h, w] row by row."""
    height, width = heatmap.shape
    return {"width": width, "height": height, "values": [float(v) for v in heatmap.ravel()]}
