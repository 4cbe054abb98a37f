"""Classify a prepared photo and encode the result as the HTTP API documents it."""

import time
from collections.abc import Callable

from .classifier import Classifier
from .decision import decide_answer
from .workers.decoder import Decoded


def classify_photo(
    classifier: Classifier,
    decoded: Decoded,
    top: int,
    heatmap: bool,
    is_contended: Callable[[], bool],
) -> dict:
    """Predict and encode one prepared photo, with the milliseconds of each step.

    `top` is clamped to 1..C. `heatmap` is null unless requested, and for models without one.
    `is_contended` says whether other photos are being processed: then one thread computes this one.
    """
    photo, started = decoded.value, time.perf_counter()
    outputs = classifier.predict(photo.pixels[None], single_thread=is_contended())
    seconds = {"prepare": decoded.seconds, "model": time.perf_counter() - started}
    seconds["total"] = sum(seconds.values())
    card, probability, heat = classifier.card, outputs.probability[0], outputs.heatmap[0]
    order = (-probability).argsort(kind="stable")[: max(1, min(top, len(probability)))]
    has_heatmap = heatmap and card.get("heatmap", {}) is not None
    height, width = heat.shape
    values = {"width": width, "height": height, "values": heat.ravel().tolist()}
    return {
        "predictions": [
            {key: card["labels"][index][key] for key in ("label", "common_name", "scientific_name")}
            | {"probability": float(probability[index])}
            for index in order
        ],
        "answer": decide_answer(probability, outputs.unknown[0], card),
        "photo": {"width": photo.width, "height": photo.height, "crop": list(photo.crop)},
        "heatmap": values if has_heatmap else None,
        "model": classifier.version,
        "milliseconds": {step: round(1000 * value, 3) for step, value in seconds.items()},
    }
