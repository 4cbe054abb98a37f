"""Check a model file by itself: against its card, and one photo alone against one in a batch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from birds import model_file
from birds.classifier import Classifier, Outputs, drawn_photo
from birds.model_file import OUTPUTS, ModelError
from export.consistency import (
    EXPORT_AGAIN,
    ModelFileError,
    check_axes,
    check_card,
    check_preparation,
)

BATCH_SIZES = (2, 7)
BATCH_TOLERANCE = 1e-4  # 42 photos differed by 3e-6 in the heat map, by nothing in other outputs
SUM_TOLERANCE = 1e-4


def check_model_file(path: Path, photos: Mapping[str, bytes]) -> dict[str, float]:
    """Return the largest differences that a valid file shows, or raise ModelFileError.

    It is one file; input, outputs and card agree with the contract and with each other; the drawn
    photos are prepared, and the drawn photo is classified, as the card records; and each of
    `photos` gets the same outputs in batches of several sizes and orders as alone.
    """
    try:
        model_file.check_bytes(path)
        model = onnx.load(path, load_external_data=False)
        axes = check_axes(model)
        classifier = Classifier(path)
    except DecodeError as error:
        raise ModelFileError(
            f"{path.name} is damaged or not an ONNX file. {EXPORT_AGAIN}"
        ) from error
    except ModelError as error:
        raise ModelFileError(str(error)) from error
    check_card(model, axes, classifier.card)
    return check_classifier(classifier, photos)


def check_classifier(classifier: Classifier, photos: Mapping[str, bytes]) -> dict[str, float]:
    """Return the largest differences that a loaded file shows, or raise ModelFileError.

    These are the checks of `check_model_file` for which the file is run, in any format.
    """
    check_preparation(classifier.card)
    names = list(photos)
    pixels = np.stack([classifier.prepare_photo(data).pixels for data in photos.values()])
    alone = predict_in_batches(classifier, pixels, 1)
    check_values(alone, names)
    drawn = classifier.predict(drawn_photo(classifier.size)[None])
    card_values = classifier.card["drawn_photo"]
    recorded = Outputs(*(np.asarray(card_values[name], np.float32)[None] for name in OUTPUTS))
    return {
        "largest_difference_in_batches": check_batches(classifier, pixels, alone, names),
        "largest_difference_of_drawn_photo": float(differences(drawn, recorded).max()),
    }


def check_values(outputs: Outputs, names: list[str]) -> None:
    """Raise ModelFileError for values that are not finite or out of range."""
    for output, values in outputs._asdict().items():
        finite = np.isfinite(values.reshape(len(names), -1)).all(1)
        if not finite.all():
            raise ModelFileError(
                f"The {output} of {names[finite.argmin()]} is not finite. Train again, with a "
                "lower learning rate if it happens again."
            )
    error = abs(outputs.probability.sum(1) - 1)
    if error.max() > SUM_TOLERANCE or outputs.probability.min() < 0:
        raise ModelFileError(
            f"The probabilities of {names[error.argmax()]} do not sum to 1, or one is negative. "
            f"{EXPORT_AGAIN}"
        )
    if outputs.heatmap.min() < 0 or outputs.heatmap.max() > 1 + SUM_TOLERANCE:
        raise ModelFileError(f"A heat map is not between 0 and 1. {EXPORT_AGAIN}")


def check_batches(
    classifier: Classifier, pixels: np.ndarray, alone: Outputs, names: list[str]
) -> float:
    """Return the largest difference between a photo in a batch and alone.

    Raises ModelFileError if it exceeds BATCH_TOLERANCE.
    """
    largest = 0.0
    for size in BATCH_SIZES:
        order = np.random.default_rng(size).permutation(len(pixels))
        order = np.resize(order, max(size, len(order)))  # few photos fill one batch too
        batched = predict_in_batches(classifier, pixels[order], size)
        difference = differences(batched, Outputs(*(values[order] for values in alone)))
        if difference.max() > BATCH_TOLERANCE:
            raise ModelFileError(
                f"The outputs for {names[order[difference.argmax()]]} in a batch of {size} differ "
                f"from those alone (by {difference.max():.2g}): the graph mixes photos. Find the "
                "operator that works across the first axis, and export without it."
            )
        largest = max(largest, float(difference.max()))
    return largest


def predict_in_batches(classifier: Classifier, pixels: np.ndarray, size: int) -> Outputs:
    """Predict photos in batches of a size."""
    starts = range(0, len(pixels), size)
    batches = [classifier.predict(pixels[start : start + size]) for start in starts]
    return Outputs(*map(np.concatenate, zip(*batches, strict=True)))


def differences(first: Outputs, second: Outputs) -> np.ndarray:
    """Return the largest difference in any output for each of N photos."""
    pairs = zip(first, second, strict=True)
    return np.max([abs(a - b).reshape(len(a), -1).max(1) for a, b in pairs], axis=0)
