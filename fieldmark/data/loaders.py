"""fastai DataLoaders; validation photos are prepared by `birds.photo.prepare`, as in serving."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.vision import all as vision
from fastai.vision.augment import setup_aug_tfms
from PIL import Image

from birds import photo
from fieldmark.data.augmentation import make_augmentations
from fieldmark.data.cache import PixelCache
from fieldmark.data.cached_loader import CachedCrop, CachedLoader
from fieldmark.data.splits import check_no_leak
from fieldmark.data.subclasses import class_names, list_classes
from fieldmark.errors import DatasetError


class PhotoFile(bytes):
    """The bytes of a photo, and the `source` they were read from."""

    source = "a photo"

    @classmethod
    def read(cls, source: Path | str | bytes) -> "PhotoFile":
        """Read a file; bytes are returned as they are."""
        if isinstance(source, bytes):
            return cls(source)
        file = cls(Path(source).read_bytes())
        file.source = str(source)
        return file


class DecodePhoto(vision.RandTransform):
    """Decode a photo to a square: a random crop for training, else as `birds.photo.prepare`."""

    split_idx = None

    def __init__(
        self, size: int, min_area: float, filter: str = photo.FILTER, train_size: int | None = None
    ):
        super().__init__(p=1.0)
        self.size, self.filter = size, filter
        resamples = [Image.Resampling[filter.upper()]] * 2
        self.crop = vision.RandomResizedCrop(train_size or size, min_area, resamples=resamples)

    def before_call(self, b, split_idx: int | None):
        """Note whether the photo is for training; fastai calls this before `encodes`."""
        super().before_call(b, split_idx)
        self.training = split_idx == 0

    def encodes(self, data: PhotoFile) -> vision.PILImage:
        """Decode one photo; raises DatasetError with the file's name."""
        try:
            if self.training:
                image, _ = photo.decode_photo(data, self.size)
                return self.crop(vision.PILImage(photo.convert_to_rgb(image)), split_idx=0)
            return vision.PILImage(Image.fromarray(photo.prepare(data, self.size, self.filter)))
        except photo.PhotoError as error:
            raise DatasetError(f"{data.source} cannot be trained on: {error}") from error


@contextmanager
def augmented_loader(dls: vision.DataLoaders, loader: vision.TfmdDL) -> Iterator[vision.TfmdDL]:
    """Yield a loader of the same photos in the same order, augmented as training photos are."""
    augmented = loader.new(after_batch=dls.train.after_batch)
    with augmented.dataset.set_split_idx(0):
        yield augmented


def make_dataloaders(
    photos: pd.DataFrame,
    folder: Path,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    filter: str = photo.FILTER,
    batch_size: int = 32,
    num_workers: int = -1,
    min_crop_area: float = 0.5,
    cache: PixelCache | None = None,
    train_size: int = 0,
    **augmentation: Any,
) -> vision.DataLoaders:
    """Return DataLoaders that train on the split `train` and validate on `valid`, on no other.

    Their targets are the sub-classes of `photos`, where it has them, and else the labels.
    A training photo is cropped at random to at least `min_crop_area` of its area and resized to
    `train_size` pixels a side (0: `size`), then changed by `make_augmentations(**augmentation)`.
    `num_workers` of -1 takes as many as suit the device. With a `cache` of the training photos, in
    their order, batches come from it. Raises DatasetError if a photo is in both splits.
    """
    used = photos[photos["split"].isin(["train", "valid"])].reset_index(drop=True)
    check_no_leak(used)
    block = vision.DataBlock(
        blocks=(
            vision.TransformBlock(type_tfms=PhotoFile.read, batch_tfms=vision.IntToFloatTensor),
            vision.CategoryBlock(vocab=list(list_classes(used))),
        ),
        get_x=vision.ColReader("path", pref=f"{folder}/"),
        get_y=vision.ColReader(class_names(used).name),
        splitter=vision.ColSplitter("split", on="valid"),
        item_tfms=[DecodePhoto(size, min_crop_area, filter, train_size)],
        batch_tfms=vision.Normalize.from_stats(
            mean, std
        ),  # fastai adds it for its own weights only
    )
    if num_workers < 0:  # without a GPU the model itself uses all CPUs
        num_workers = min(16, os.cpu_count() or 1) if torch.cuda.is_available() else 0
    dls = block.dataloaders(used, bs=batch_size, num_workers=num_workers)
    # as `batch_tfms` they would resample validation photos too
    augmentations = make_augmentations(**augmentation)
    if not cache:
        dls.add_tfms(augmentations, "after_batch", "train")
        return dls
    crop = CachedCrop(train_size or size, min_crop_area)
    dls.add_tfms(setup_aug_tfms([crop, *augmentations]), "after_batch", "train")
    labels = class_names(used)[used["split"] == "train"].map(dls.vocab.o2i)
    options = {"bs": batch_size, "shuffle": True, "drop_last": True, "device": dls.device}
    options |= {"after_batch": dls.train.after_batch}
    dls.train = CachedLoader(dls.train_ds, cache, torch.tensor(labels.to_numpy()), crop, **options)
    return dls
