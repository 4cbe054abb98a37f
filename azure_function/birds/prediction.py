"""Identify the bird in a prepared photo and encode the result as the HTTP API documents it."""

from collections.abc import Callable
from typing import NamedTuple

from .crops import Box
from .decision import decide_answer
from .identifier import AUTO, Identifier, Look, Where
from .workers.decoder import Decoded


class Options(NamedTuple):
    """What is requested for a photo.

    `top` predictions, clamped to 1..C; the heat map; where to look; all birds or only one.
    """

    top: int = 5
    heatmap: bool = False
    where: Where = AUTO
    all_birds: bool = False


DEFAULT_OPTIONS = Options()


def classify_photo(
    identifier: Identifier, decoded: Decoded, options: Options, is_contended: Callable[[], bool]
) -> dict:
    """Identify the bird in a photo that was prepared as `options.where` says; encode the result.

    `heatmap` and `birds` are null unless requested, the heat map for models without one too.
    `is_contended` says whether other photos are being processed: then one thread computes this one.
    """
    where, all_birds = options.where, options.all_birds
    found = identifier.identify(decoded.value, where, all_birds, single_thread=is_contended())
    chosen, card = found.chosen, identifier.classifier.card
    seconds = found.seconds | {"prepare": decoded.seconds + found.seconds["prepare"]}
    seconds["total"] = sum(seconds.values())
    has_heatmap = options.heatmap and card.get("heatmap", {}) is not None
    return encode_look(chosen, card, options.top) | {
        "photo": {
            **{"width": found.width, "height": found.height, "crop": list(chosen.crop.square)},
            "crop_from": chosen.crop.source,
        },
        "heatmap": encode_heatmap(chosen) if has_heatmap else None,
        "birds": [encode_bird(look, card, options.top) for look in found.birds]
        if all_birds
        else None,
        "model": identifier.classifier.version,
        "milliseconds": {step: round(1000 * value, 3) for step, value in seconds.items()},
    }


def encode_look(look: Look, card: dict, top: int) -> dict:
    """Return the `top` predictions and the answer for one crop."""
    probability, unknown = look.outputs.probability[look.index], look.outputs.unknown[look.index]
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
