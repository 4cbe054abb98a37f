"""Classify one photo and encode the result as the HTTP API documents it."""

import time
from collections.abc import Callable

import numpy as np

from .classifier import Classifier, Outputs
from .decision import decide_answer
from .photo import PhotoError, PreparedPhoto


def classify_photo(
    classifier: Classifier,
    data: bytes,
    top: int,
    heatmap: bool,
    is_contended: Callable[[], bool],
) -> dict | PhotoError:
    """Prepare, predict and encode one photo, with the milliseconds of each step.

    Returns a PhotoError instead of raising it: in a list of photos a broken one is a result.
    `is_contended` says whether other photos are being processed: then one thread computes this one.
    """
    started = time.perf_counter()
    try:
        photo = classifier.prepare_photo(data)
    except PhotoError as error:
        return error
    prepared = time.perf_counter()
    outputs = classifier.predict(photo.pixels[None], single_thread=is_contended())
    finished = time.perf_counter()
    seconds = {
        "prepare": prepared - started,
        "model": finished - prepared,
        "total": finished - started,
    }
    return encode_answer(classifier, photo, outputs, top, heatmap) | {
        "milliseconds": {step: round(1000 * value, 3) for step, value in seconds.items()}
    }


def encode_answer(
    classifier: Classifier, photo: PreparedPhoto, outputs: Outputs, top: int, heatmap: bool
) -> dict:
    """Encode the outputs of a batch of one photo.

    `top` is clamped to 1..C. `heatmap` is null unless requested, and for models without one.
    """
    card, probability = classifier.card, outputs.probability[0]
    order = (-probability).argsort(kind="stable")[: max(1, min(top, len(probability)))]
    has_heatmap = heatmap and card.get("heatmap", {}) is not None
    return {
        "predictions": [encode_prediction(card["labels"][i], probability[i]) for i in order],
        "answer": decide_answer(probability, outputs.unknown[0], card),
        "photo": {"width": photo.width, "height": photo.height, "crop": list(photo.crop)},
        "heatmap": encode_heatmap(outputs.heatmap[0]) if has_heatmap else None,
        "model": classifier.version,
    }


def encode_prediction(label: dict, probability: float) -> dict:
    """Encode one label of the card with its probability."""
    names = {key: label[key] for key in ("label", "common_name", "scientific_name")}
    return names | {"probability": float(probability)}


def encode_heatmap(heatmap: np.ndarray) -> dict:
    """Encode a heat map [h, w] row by row."""
    height, width = heatmap.shape
    return {"width": width, "height": height, "values": heatmap.ravel().tolist()}
