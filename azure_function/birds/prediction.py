"""Identify the bird in a prepared photo and encode the result as the HTTP API documents it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .classifier import Classifier
from .crops import Box
from .decision import decide_answer
from .identifier import AUTO, Identification, Identifier, Look, Where
from .same_bird import combine_outputs
from .workers.decoder import Decoded


class Options(NamedTuple):
    """What is requested for a photo.

    `top` predictions, clamped to 1..C; the heat map; where to look; all birds or only one; one
    answer for all photos of a request too, because they show the `same_bird`.
    """

    top: int = 5
    heatmap: bool = False
    where: Where = AUTO
    all_birds: bool = False
    same_bird: bool = False


DEFAULT_OPTIONS = Options()


class SameBird:
    """What the model says of one bird in several photos, which `add` collects."""

    def __init__(self) -> None:
        self.probability: list[np.ndarray] = []
        self.unknown: list[float] = []

    def add(self, look: Look) -> None:
        """Add the look that one photo is named after."""
        self.probability.append(look.outputs.probability[look.index])
        self.unknown.append(look.outputs.unknown[look.index])

    def encode(self, card: dict, top: int) -> dict | None:
        """Return one answer for all photos as the HTTP API documents it, None without photos."""
        if not self.unknown:
            return None
        combined = combine_outputs(np.stack(self.probability), np.array(self.unknown))
        return encode_outputs(*combined, card, top) | {"photos": len(self.unknown)}


def classify_photo(
    identifier: Identifier,
    decoded: Decoded,
    options: Options,
    is_contended: Callable[[], bool],
    same_bird: SameBird | None = None,
) -> dict:
    """Identify the bird in a photo that was prepared as `options.where` says; encode the result.

    `heatmap` and `birds` are null unless requested, the heat map for models without one too.
    `is_contended` says whether other photos are being processed: then one thread computes this one.
    `same_bird` collects what the model says of this photo.
    """
    where, all_birds = options.where, options.all_birds
    found = identifier.identify(decoded.value, where, all_birds, single_thread=is_contended())
    if same_bird:
        same_bird.add(found.chosen)
    return encode_identification(found, decoded.seconds, identifier.classifier, options)


def encode_identification(
    found: Identification, decoding: float, classifier: Classifier, options: Options
) -> dict:
    """Return what was found in a photo as the HTTP API documents it.

    `decoding` are the seconds that its decoding took.
    """
    chosen, card = found.chosen, classifier.card
    seconds = found.seconds | {"prepare": decoding + found.seconds["prepare"]}
    seconds["total"] = sum(seconds.values())
    has_heatmap = options.heatmap and card.get("heatmap", {}) is not None
    return encode_look(chosen, card, options.top) | {
        "photo": {
            **{"width": found.width, "height": found.height, "crop": list(chosen.crop.square)},
            "crop_from": chosen.crop.source,
        },
        "heatmap": encode_heatmap(chosen) if has_heatmap else None,
        "birds": [encode_bird(look, card, options.top) for look in found.birds]
        if options.all_birds
        else None,
        "model": classifier.version,
        "milliseconds": {step: round(1000 * value, 3) for step, value in seconds.items()},
    }


def encode_look(look: Look, card: dict, top: int) -> dict:
    """Return the `top` predictions and the answer for one crop."""
    probability, unknown = look.outputs.probability[look.index], look.outputs.unknown[look.index]
    return encode_outputs(probability, unknown, card, top)


def encode_outputs(probability: np.ndarray, unknown: float, card: dict, top: int) -> dict:
    """Return the `top` predictions and the answer for probabilities [C] and an unknown score."""
    order = (-probability).argsort(kind="stable")[: max(1, min(top, len(probability)))]
    return {
        "predictions": [
            {key: card["labels"][index][key] for key in ("label", "common_name", "scientific_name")}
            | {"probability": float(probability[index])}
            for index in order
        ],
        "answer": decide_answer(probability, unknown, card),
    }


def encode_bird(look: Look, card: dict, top: int) -> dict:
    """Return one entry of `birds`."""
    crop = look.crop
    place = {"box": encode_box(crop.box), "score": crop.score, "crop": list(crop.square)}
    return place | encode_look(look, card, top)


def encode_box(box: Box | None) -> list[float] | None:
    """Return left, top, width and height to a tenth of a pixel."""
    return [round(value, 1) for value in box[:4]] if box else None


def encode_heatmap(look: Look) -> dict:
    """Return the heat map of a crop, row by row."""
    heat = look.outputs.heatmap[look.index]
    height, width = heat.shape
    return {"width": width, "height": height, "values": heat.ravel().tolist()}
