"""Check a model file by itself: as its card says, and with one answer alone and in a batch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from birds import model_file
from birds.classifier import Classifier, Outputs, drawn_photo
from birds.model_file import OUTPUTS, ModelError
from export.consistency import AGAIN, FileFault, check_axes, check_card, check_preparation

BATCHES = (2, 7)
ALIKE = 1e-4  # 42 photos differed by 3e-6 in the heat map, by nothing in the other outputs
SUM = 1e-4


def check(path: Path, photos: Mapping[str, bytes]) -> dict[str, float]:
    """Return what a faultless file's card may tell of it, or raise FileFault.

    It is one file; input, outputs and card agree with the contract and with each other; the drawn
    photos are prepared, and the drawn photo answered, as the card records; and each of `photos`
    gets the answer in a batch, of whatever size and order, that it gets alone.
    """
    try:
        model_file.check_bytes(path)
        proto = onnx.load(path, load_external_data=False)
        axes = check_axes(proto)
        classifier = Classifier(path)
    except DecodeError as error:
        raise FileFault(f"{path.name} is damaged or no ONNX file. {AGAIN}") from error
    except ModelError as error:
        raise FileFault(str(error)) from error
    check_card(proto, axes, classifier.card)
    check_preparation(classifier.card["preparation"])
    names = list(photos)
    pixels = np.stack([classifier.prepare_photo(data).pixels for data in photos.values()])
    alone = answers(classifier, pixels, 1)
    check_values(alone, names)
    drawn = classifier.predict(drawn_photo(classifier.size)[None])
    said = classifier.card["drawn_photo"]
    recorded = Outputs(*(np.asarray(said[name], np.float32)[None] for name in OUTPUTS))
    return {
        "largest_difference_in_batches": check_batches(classifier, pixels, alone, names),
        "largest_difference_of_drawn_photo": float(differences(drawn, recorded).max()),
    }


def check_values(outputs: Outputs, names: list[str]) -> None:
    """Raise FileFault unless probabilities sum to 1, maps lie between 0 and 1, all is finite."""
    for output, values in outputs._asdict().items():
        finite = np.isfinite(values.reshape(len(names), -1)).all(1)
        if not finite.all():
            raise FileFault(
                f"The {output} of {names[finite.argmin()]} is not finite. Train anew, at a lower "
                "rate if it comes again."
            )
    off = abs(outputs.probability.sum(1) - 1)
    if off.max() > SUM or outputs.probability.min() < 0:
        raise FileFault(
            f"The probabilities of {names[off.argmax()]} don't sum to 1, or one is below 0. {AGAIN}"
        )
    if outputs.heatmap.min() < 0 or outputs.heatmap.max() > 1 + SUM:
        raise FileFault(f"A heat map is not between 0 and 1. {AGAIN}")


def check_batches(
    classifier: Classifier, pixels: np.ndarray, alone: Outputs, names: list[str]
) -> float:
    """Return by how much answers differ in company; raise FileFault if it is more than nothing."""
    largest = 0.0
    for size in BATCHES:
        order = np.random.default_rng(size).permutation(len(pixels))
        order = np.resize(order, max(size, len(order)))  # however few photos, one batch is full
        found = answers(classifier, pixels[order], size)
        off = differences(found, Outputs(*(values[order] for values in alone)))
        if off.max() > ALIKE:
            raise FileFault(
                f"{names[order[off.argmax()]]} is answered otherwise in a batch of {size} than "
                f"alone (by {off.max():.2g}): something in the graph mixes photos. Find the "
                "operator that works across the first axis, and export without it."
            )
        largest = max(largest, float(off.max()))
    return largest


def answers(classifier: Classifier, pixels: np.ndarray, size: int) -> Outputs:
    """Predict photos in batches of a size."""
    parts = [classifier.predict(pixels[at : at + size]) for at in range(0, len(pixels), size)]
    return Outputs(*map(np.concatenate, zip(*parts, strict=True)))


def differences(found: Outputs, expected: Outputs) -> np.ndarray:
    """Return the largest difference in any output for each of N photos."""
    pairs = zip(found, expected, strict=True)
    return np.max([abs(a - b).reshape(len(a), -1).max(1) for a, b in pairs], axis=0)
