"""Identify the bird in a photo: decode it, find crops, and keep the one that looks most familiar.

The function, bulk predictions, the gate and evaluation all run this code.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import crops, photo
from .classifier import Classifier
from .crops import Box, Crop
from .decision import unknown_threshold
from .finder import Finder, describe_mismatch
from .looks import Look, choose_looks, look_at_others
from .photo import DecodedPhoto, PreparedPhoto
from .workers.decoder import Decoded, Decoder

AUTO, CENTER = "auto", "center"
Where = str | tuple[int, int, int, int]  # AUTO, CENTER, or left, top, width and height


class Identification(NamedTuple):
    """The look at the bird that a photo is named after, of so many `looks`, and other `birds`.

    `width` and `height` are those of the upright photo, `seconds` what each step took: prepare (cut
    and resize crops), find, model. `birds`, of which the first is `chosen`, has one of each place
    if all were requested. `boxes` are the finder's, best first.
    """

    chosen: Look
    birds: list[Look]
    looks: int
    width: int
    height: int
    seconds: dict[str, float]
    boxes: list[Box]


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
        return self.identify_batch([prepared], where, all_birds, single_thread)[0]

    def identify_batch(
        self,
        photos: Sequence[DecodedPhoto | PreparedPhoto],
        where: Where = AUTO,
        all_birds: bool = False,
        single_thread: bool = False,
    ) -> list[Identification]:
        """Name the birds in photos that were prepared for `where`, in few runs of the models.

        `seconds` of each are those of all photos together.
        """
        clock = Clock()
        predict = clock.timed(
            "model", partial(self.classifier.predict, single_thread=single_thread)
        )
        boxes = clock.timed("find", self.find)(photos, single_thread)
        proposals = [
            propose(photo, found, where) for photo, found in zip(photos, boxes, strict=True)
        ]
        cut = clock.timed("prepare", lambda number, crop: self.cut(photos[number], crop))
        looks = choose_looks(proposals, cut, predict, self.threshold)
        sizes = [(photo.width, photo.height) for photo in photos]
        others = [
            crops.propose_birds(found, *size) if all_birds else []
            for found, size in zip(boxes, sizes, strict=True)
        ]
        birds = look_at_others(looks, others, cut, predict)
        return [
            Identification(tried[0], seen, len(tried), *size, clock.seconds, found)
            for tried, seen, size, found in zip(looks, birds, sizes, boxes, strict=True)
        ]

    def find(
        self, photos: Sequence[DecodedPhoto | PreparedPhoto], single_thread: bool = False
    ) -> list[list[Box]]:
        """Return the boxes of the finder in each photo; none without one, or in a prepared crop."""
        boxes: list[list[Box]] = [[] for _ in photos]
        whole = {n: photo for n, photo in enumerate(photos) if isinstance(photo, DecodedPhoto)}
        if self.finder and whole:
            found = self.finder.find_all(list(whole.values()), single_thread)
            for number, each in zip(whole, found, strict=True):
                boxes[number] = each
        return boxes

    def cut(self, prepared: DecodedPhoto | PreparedPhoto, crop: Crop) -> np.ndarray:
        """Return the pixels of a crop, prepared for the species model."""
        if isinstance(prepared, PreparedPhoto):
            return prepared.pixels  # of its only crop
        size, filter = self.classifier.size, self.classifier.filter
        return photo.crop_photo(prepared, crop.square, size, filter).pixels


def propose(
    prepared: DecodedPhoto | PreparedPhoto, boxes: Sequence[Box], where: Where
) -> list[Crop]:
    """Return the squares of a photo in which the species model looks, given a finder's boxes."""
    if isinstance(prepared, PreparedPhoto):
        return [Crop(*prepared.crop, "center" if isinstance(where, str) else "request")]
    return crops.propose_crops(boxes, prepared.width, prepared.height)


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
