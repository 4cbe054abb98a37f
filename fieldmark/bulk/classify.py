"""Classify a batch of photos: what each worker of a job runs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from birds import photo
from birds.identifier import AUTO, Identification, Identifier
from birds.photo import DecodedPhoto, PhotoError, PreparedPhoto
from birds.workers.decoder import JOB_LIMITS, Decoder, shared_decoder
from fieldmark.bulk.addresses import is_address
from fieldmark.bulk.answers import answer_columns
from fieldmark.bulk.exif import read_exif
from fieldmark.bulk.rows import SCHEMA
from fieldmark.bulk.sources import read_bytes
from fieldmark.errors import UserError

READERS = 8  # threads that read photos of addresses ahead, as a cloud answers slowly
MODEL_BATCH = 8  # photos of one run of the model, which CPUs compute fastest
FINDER_BATCH = 1  # the same where a finder looks first, at shapes that differ by photo
LIMITED = 1  # processes that decode the photos that need one
T = TypeVar("T")
R = TypeVar("R")
Prepared = DecodedPhoto | PreparedPhoto


class ClassifyOptions(NamedTuple):
    """What a job asks of each photo, and of which models; a worker gets it by pickle.

    `where` is AUTO or CENTER; `top` labels are kept at least, also improbable ones. `exif` adds
    time, place and camera, `embedding` the features. `threads` compute one run of a model. `labels`
    are the card's, if more of their taxa are known now.
    """

    model: Path
    finder: Path | None = None
    where: str = AUTO
    top: int = 5
    exif: bool = False
    embedding: bool = False
    threads: int = 1
    labels: tuple[dict, ...] | None = None


class Item(NamedTuple):
    """A photo on its way: prepared, or with the reason why it could not be."""

    path: str
    prepared: Prepared | None
    exif: dict
    error: str | None = None


class BatchClassifier:
    """Turns paths into rows; loads the models when it is first called."""

    def __init__(self, options: ClassifyOptions):
        self.options = options

    @cached_property
    def identifier(self) -> Identifier:
        """The models."""
        return Identifier.load(self.options.model, self.options.finder, self.options.threads)

    @cached_property
    def labels(self) -> dict[str, dict]:
        """The labels of the model by name."""
        labels = self.options.labels or self.identifier.classifier.card["labels"]
        return {label["label"]: label for label in labels}

    @cached_property
    def decoder(self) -> Decoder:
        """Processes with limits, which start with the first photo that needs one."""
        return shared_decoder(LIMITED, JOB_LIMITS)

    def __call__(self, paths: Sequence[str]) -> pa.Table:
        """Return a row of SCHEMA for each path, in order; a broken photo has only its `error`.

        A thread prepares the next photos while the models look at these.
        """
        with ThreadPoolExecutor(READERS, "read") as readers, ThreadPoolExecutor(1) as preparer:
            if any(map(is_address, paths)):
                read = map_ahead(readers, read_photo, paths, 2 * READERS)
            else:
                read = map(read_photo, paths)
            size = FINDER_BATCH if self.options.finder else MODEL_BATCH
            groups = map_ahead(preparer, self.prepare_group, split_batches(read, size), 1)
            rows = [row for group in groups for row in self.classify(group)]
        return pa.Table.from_pylist(rows, SCHEMA)

    def prepare_group(self, group: Sequence[tuple[str, bytes | str]]) -> list[Item]:
        """Prepare the photos of one run of the models."""
        return [self.prepare(read) for read in group]

    def prepare(self, read: tuple[str, bytes | str]) -> Item:
        """Prepare a photo whose bytes, or the error instead of them, were read."""
        path, data = read
        if isinstance(data, str):
            return Item(path, None, {}, data)
        try:
            prepared = self.prepare_bytes(data)
        except PhotoError as error:
            return Item(path, None, {}, str(error))
        return Item(path, prepared, read_exif(data) if self.options.exif else {})

    def prepare_bytes(self, data: bytes) -> Prepared:
        """Prepare a photo: the plain ones here, and others in a process with limits.

        A hostile file can take gigabytes or minutes, which no plain JPEG does.
        """
        if photo.is_plain_jpeg(data):
            return self.identifier.prepare(data, self.options.where)
        future = self.identifier.prepare_in_worker(self.decoder, data, self.options.where)
        return future.result().value

    def classify(self, items: Sequence[Item]) -> Iterator[dict]:
        """Yield the rows of some photos, which the models see in one run."""
        photos = [item.prepared for item in items if item.prepared]
        found = iter(self.identifier.identify_batch(photos, self.options.where) if photos else ())
        for item in items:
            row = dict.fromkeys(SCHEMA.names) | {"path": item.path, "error": item.error}
            yield row | (item.exif | self.describe(next(found)) if item.prepared else {})

    def describe(self, found: Identification) -> dict:
        """Return the columns of a photo that was identified."""
        look, card = found.chosen, self.identifier.classifier.card
        outputs, index = look.outputs, look.index
        answer = outputs.probability[index], outputs.unknown[index], card
        embedding = outputs.embedding[index].astype(np.float16) if self.options.embedding else None
        return {
            **answer_columns(*answer, self.labels, self.options.top),
            **{"width": found.width, "height": found.height},
            **{"crop": list(look.crop.square), "crop_from": look.crop.source},
            "boxes": [box._asdict() for box in found.boxes],
            "embedding": embedding,
        }


def read_photo(path: str) -> tuple[str, bytes | str]:
    """Return a path and the bytes there, or in their place the reason why they cannot be read."""
    try:
        return path, read_bytes(path)
    except UserError as error:
        return path, str(error)
    except OSError as error:
        return path, f"This file cannot be read: {error.strerror or error}."
    except ValueError as error:  # a path with a NUL character
        return path, f"This file cannot be read: {error}."


def map_ahead(
    executor: Executor, function: Callable[[T], R], values: Iterable[T], ahead: int
) -> Iterator[R]:
    """Yield the results of a function in order, computed in threads up to `ahead` values before."""
    pending: deque[Future[R]] = deque()
    for value in values:
        pending.append(executor.submit(function, value))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def split_batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` values."""
    remaining = iter(values)
    while batch := list(islice(remaining, size)):
        yield batch
