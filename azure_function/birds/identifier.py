"""Identify the bird in a photo: decode it, find crops, and keep the one that looks most familiar.

The function, bulk predictions, the gate and evaluation all run this code.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import crops, photo
from .classifier import Classifier
from .crops import Crop
from .decision import unknown_threshold
from .finder import Finder, describe_mismatch
from .looks import Look, choose_look, look_at_others
from .photo import DecodedPhoto, PreparedPhoto
from .workers.decoder import Decoded, Decoder

AUTO, CENTER = "auto", "center"
Where = str | tuple[int, int, int, int]  # AUTO, CENTER, or left, top, width and height


class Identification(NamedTuple):
    """The look at the bird that a photo is named after, of so many `looks`, and other `birds`.

    `width` and `height` are those of the upright photo, `seconds` what each step took: prepare (cut
    and resize crops), find, model. `birds`, of which the first is `chosen`, has one of each place
    if all were requested.
    """

    chosen: Look
    birds: list[Look]
    looks: int
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

    @classmethod
    def load(
        cls, model: Path | str, finder: Path | str | None = None, threads: int | None = None
    ) -> "Identifier":
        """Load the files of a species model and a finder, if any; raises ModelError."""
        return cls(Classifier(model, threads), Finder(finder, threads) if finder else None)

    @property
    def mismatch(self) -> str | None:
        """Return a sentence if the species model's card names another finder, or none."""
        return describe_mismatch(self.classifier.card, self.finder)

    def preparation(self, where: Where = AUTO) -> tuple:
        """Return the function of `birds.photo` that prepares the bytes of a photo, and options.

        Only where a finder decides, the whole photo comes back, as a DecodedPhoto.
        """
        square = photo.prepare_photo, self.classifier.size, self.classifier.filter
        if where == AUTO and self.finder:
            return photo.decode_upright, self.finder.size, self.finder.filter
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
        prepared: DecodedPhoto | PreparedPhoto,
        where: Where = AUTO,
        all_birds: bool = False,
        single_thread: bool = False,
    ) -> Identification:
        """Name the bird in a photo that was prepared for `where`, or all birds in it."""
        clock = Clock()
        predict = clock.timed(
            "model", partial(self.classifier.predict, single_thread=single_thread)
        )
        width, height, boxes = prepared.width, prepared.height, []
        if isinstance(prepared, DecodedPhoto):
            if self.finder:
                boxes = clock.timed("find", self.finder.find)(prepared, single_thread)
            proposals = crops.propose_crops(boxes, width, height)
            cut = clock.timed("prepare", partial(self.cut, prepared))
        else:
            proposals = [Crop(*prepared.crop, "center" if isinstance(where, str) else "request")]
            cut = partial(get_pixels, prepared)
        looks = choose_look(proposals, cut, predict, self.threshold)
        others = crops.propose_birds(boxes, width, height) if all_birds else []
        birds = look_at_others(looks, others, cut, predict)
        return Identification(looks[0], birds, len(looks), width, height, clock.seconds)

    def cut(self, decoded: DecodedPhoto, crop: Crop) -> np.ndarray:
        """Return the pixels of a crop, prepared for the species model."""
        size, filter = self.classifier.size, self.classifier.filter
        return photo.crop_photo(decoded, crop.square, size, filter).pixels


def get_pixels(prepared: PreparedPhoto, _: Crop) -> np.ndarray:
    """Return the pixels of a photo that was prepared for its only crop."""
    return prepared.pixels


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
