"""Identify the bird in a photo: decode it, find crops, and keep the one that looks most familiar.

The function, bulk predictions, the gate and evaluation all run this code.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .classifier import Classifier
from .crops import MAX_BIRDS, Crop, distinct, propose_birds, propose_crops
from .decision import unknown_threshold
from .finder import Finder
from .photo import DecodedPhoto, PreparedPhoto, crop_photo, decode_upright, prepare_photo
from .workers.decoder import Decoded, Decoder

AUTO, CENTER = "auto", "center"
Where = str | tuple[int, int, int, int]  # AUTO, CENTER, or left, top, width and height


class Look(NamedTuple):
    """A crop with its pixels, and `outputs` of a batch in which it is row `index`."""

    crop: Crop
    pixels: np.ndarray
    outputs: Any
    index: int

    @property
    def unknown(self) -> float:
        """Return the out-of-distribution score of the crop."""
        return float(self.outputs.unknown[self.index])


class Identification(NamedTuple):
    """The look at the bird that a photo is named after, and the `birds` in other places.

    `width` and `height` are those of the upright photo, `seconds` what each step took: prepare (cut
    and resize crops), find, model. `birds`, of which the first is `chosen`, has one of each place
    if all were requested.
    """

    chosen: Look
    birds: list[Look]
    width: int
    height: int
    seconds: dict[str, float]


class Identifier:
    """A species model with the finder that proposes where it looks; threads may share it.

    Without a finder it looks at the middle square.
    """

    def __init__(self, classifier: Classifier, finder: Finder | None = None):
        self.classifier, self.finder = classifier, finder
        self.threshold = unknown_threshold(classifier.card)

    def preparation(self, where: Where = AUTO) -> tuple:
        """Return the function of `birds.photo` that prepares the bytes of a photo, and options.

        Only where a finder decides, the whole photo comes back, as a DecodedPhoto.
        """
        square = prepare_photo, self.classifier.size, self.classifier.filter
        if where == AUTO and self.finder:
            return decode_upright, self.finder.size, self.finder.filter
        return square if isinstance(where, str) else (*square, where)

    def prepare(self, data: bytes, where: Where = AUTO) -> DecodedPhoto | PreparedPhoto:
        """Prepare the bytes of a photo in this process; raises PhotoError."""
        function, *options = self.preparation(where)
        return function(data, *options)

    def prepare_in_worker(
        self, decoder: Decoder, data: bytes, where: Where = AUTO, patience: float = math.inf
    ) -> "Future[Decoded]":
        """Prepare the bytes of a photo in a process of a decoder, as `Decoder.submit` does."""
        function, *options = self.preparation(where)
        return decoder.submit(function, data, *options, patience=patience)

    def identify(
        self,
        photo: DecodedPhoto | PreparedPhoto,
        where: Where = AUTO,
        all_birds: bool = False,
        single_thread: bool = False,
    ) -> Identification:
        """Name the bird in a photo that was prepared for `where`, or all birds in it."""
        clock = Clock()
        predict = clock.timed(
            "model", partial(self.classifier.predict, single_thread=single_thread)
        )
        if isinstance(photo, PreparedPhoto):
            source = "center" if isinstance(where, str) else "request"
            crops, boxes = [Crop(*photo.crop, source)], []
            cut = lambda _: photo.pixels  # noqa: E731
        else:
            boxes = clock.timed("find", self.finder.find)(photo, single_thread)
            crops = propose_crops(boxes, photo.width, photo.height)
            cut = clock.timed("prepare", partial(self.cut, photo))
        looks = choose_look(crops, cut, predict, self.threshold)
        others = propose_birds(boxes, photo.width, photo.height) if all_birds else []
        birds = look_at_others(looks, others, cut, predict)
        return Identification(looks[0], birds, photo.width, photo.height, clock.seconds)

    def cut(self, photo: DecodedPhoto, crop: Crop) -> np.ndarray:
        """Return the pixels of a crop, prepared for the species model."""
        size, filter = self.classifier.size, self.classifier.filter
        return crop_photo(photo, crop.square, size, filter).pixels


class Clock:
    """Adds up the seconds that some steps take."""

    def __init__(self) -> None:
        self.seconds = {"prepare": 0.0, "find": 0.0, "model": 0.0}

    def timed(self, step: str, function: Callable) -> Callable:
        """Return a function whose time counts for a step."""

        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments)
            self.seconds[step] += time.perf_counter() - started
            return result

        return call


def choose_look(
    crops: Sequence[Crop],
    cut: Callable[[Crop], np.ndarray],
    predict: Callable[[np.ndarray], Any],
    threshold: float | None,
) -> list[Look]:
    """Look at crops, the first one first, and at the others only if it is doubtful; best first.

    `cut` returns the pixels of a crop, uint8 [S, S, 3]; `predict` takes those of N crops and
    returns outputs with `unknown` [N]. The first look is doubtful if its score is over the
    `threshold` of unknown birds; without one it never is. The best look has the lowest score.
    """
    looks = take_looks(crops[:1], cut, predict)
    if threshold is not None and looks[0].unknown > threshold:
        looks += take_looks(crops[1:], cut, predict)
    return sorted(looks, key=lambda look: look.unknown)


def take_looks(
    crops: Sequence[Crop],
    cut: Callable[[Crop], np.ndarray],
    predict: Callable[[np.ndarray], Any],
) -> list[Look]:
    """Return the looks at some crops, predicted as one batch."""
    if not crops:
        return []
    pixels = np.stack([cut(crop) for crop in crops])
    outputs = predict(pixels)
    return [Look(crop, pixels[i], outputs, i) for i, crop in enumerate(crops)]


def look_at_others(
    looks: Sequence[Look],
    crops: Sequence[Crop],
    cut: Callable[[Crop], np.ndarray],
    predict: Callable[[np.ndarray], Any],
) -> list[Look]:
    """Return the best look, and one at each of the `crops` that show birds in other places.

    Looks that were taken before are not taken again.
    """
    best, taken = looks[0], {look.crop: look for look in looks}
    others = [c for c in distinct([best.crop, *crops])[1:] if c.box != best.crop.box]
    others = others[: MAX_BIRDS - 1]
    new = take_looks([crop for crop in others if crop not in taken], cut, predict)
    taken |= {look.crop: look for look in new}
    return [best, *(taken[crop] for crop in others)]
