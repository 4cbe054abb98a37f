"""DataLoaders whose validation photos are prepared by the very code that serves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import timm
import torch
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    ColSplitter,
    DataBlock,
    DataLoaders,
    Hue,
    IntToFloatTensor,
    Normalize,
    PILImage,
    RandomResizedCrop,
    RandTransform,
    Saturation,
    TensorImage,
    TfmdDL,
    Transform,
    TransformBlock,
    aug_transforms,
)
from fastai.vision.augment import setup_aug_tfms
from PIL import Image
from torchvision.transforms.v2 import RandomErasing

from birds import photo
from fieldmark.data.cache import Cache
from fieldmark.data.cached_loader import CachedDL, Crop
from fieldmark.data.locations import PhotosError


class PhotoFile(bytes):
    """The bytes of a photo, as they lie on the disk or come with a request, and where from."""

    source = "a photo"

    @classmethod
    def read(cls, source: Path | str | bytes) -> "PhotoFile":
        """Read a file; bytes stay as they are."""
        if isinstance(source, bytes):
            return cls(source)
        file = cls(Path(source).read_bytes())
        file.source = str(source)
        return file


class Frame(RandTransform):
    """Cut a square out of a photo: at random to train on it, else exactly as the function does."""

    split_idx = None

    def __init__(
        self, size: int, closest: float, filter: str = photo.FILTER, train_size: int | None = None
    ):
        super().__init__(p=1.0)
        self.size, self.filter = size, filter
        self.crop = RandomResizedCrop(
            train_size or size, closest, resamples=[Image.Resampling[filter.upper()]] * 2
        )

    def before_call(self, b, split_idx: int | None):
        """Note whether this is for training; fastai calls it before `encodes`."""
        super().before_call(b, split_idx)
        self.training = split_idx == 0

    def encodes(self, data: PhotoFile) -> PILImage:
        """Frame one photo; PhotosError names a file that can't be read."""
        try:
            if self.training:
                image, _ = photo.decode_photo(data, self.size)
                return self.crop(PILImage(photo.convert_to_rgb(image)), split_idx=0)
            return PILImage(Image.fromarray(photo.prepare(data, self.size, self.filter)))
        except photo.PhotoError as error:
            raise PhotosError(f"{data.source} can't be learned from: {error}") from error


def settings(arch: str, size: int = 0, mean: tuple = (), std: tuple = (), **_) -> dict:
    """Read `size` (pixels), `mean`, `std` and `filter` from timm's configuration, unless given."""
    config = timm.get_pretrained_cfg(arch)
    shape = config.test_input_size or config.input_size
    return {
        "size": size or shape[-1],
        "mean": mean or config.mean,
        "std": std or config.std,
        "filter": config.interpolation,
    }


@contextmanager
def as_in_training(dls: DataLoaders, loader: TfmdDL) -> Iterator[TfmdDL]:
    """Show a loader's photos in their order, but cropped, turned and lit at random.

    Cropping is an item's transform and obeys the dataset; the rest is the train loader's alone.
    """
    shown = loader.new(after_batch=dls.train.after_batch)
    with shown.dataset.set_split_idx(0):
        yield shown


def dataloaders(
    photos: pd.DataFrame,
    folder: Path,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    filter: str = photo.FILTER,
    batch_size: int = 32,
    validate: str = "valid",
    workers: int = -1,
    closest: float = 0.5,
    cache: Cache | None = None,
    train_size: int = 0,
    **augmentation: float,
) -> DataLoaders:
    """Make the DataLoaders: train on the part `train`, validate on the part `validate`.

    A training photo is cropped at random to `closest` of its area or more and to another aspect
    ratio, then goes through `augmented`; a validation photo is prepared as it will be served. It
    learns from photos of `train_size` pixels a side, or of `size`.
    Normalisation is explicit: fastai adds it of itself only to pretrained weights. `workers` are
    processes that read photos; -1 takes as many as suit the device. With a `cache` of the photos
    that train, in their order, batches of these come out of it.
    """
    shown = photos[photos["split"].isin(["train", validate])].reset_index(drop=True)
    block = DataBlock(
        blocks=(
            TransformBlock(type_tfms=PhotoFile.read, batch_tfms=IntToFloatTensor),
            CategoryBlock(vocab=sorted(photos["label"][photos["split"] == "train"].unique())),
        ),
        get_x=ColReader("path", pref=f"{folder}/"),
        get_y=ColReader("label"),
        splitter=ColSplitter("split", on=validate),
        item_tfms=[Frame(size, closest, filter, train_size)],
        batch_tfms=Normalize.from_stats(mean, std),
    )
    if workers < 0:  # a CPU is busy with the model already
        workers = min(16, os.cpu_count() or 1) if torch.cuda.is_available() else 0
    dls = block.dataloaders(shown, bs=batch_size, num_workers=workers)
    # fastai's own place for these would warp validation photos too, by the identity and rounding
    made = augmented(**augmentation)
    if not cache:
        dls.add_tfms(made, "after_batch", "train")
        return dls
    crop = Crop(train_size or size, closest)
    dls.add_tfms(setup_aug_tfms([crop, *made]), "after_batch", "train")
    labels = shown["label"][shown["split"] == "train"].map(dls.vocab.o2i)
    dls.train = CachedDL(
        dls.train_ds,
        cache,
        torch.tensor(labels.to_numpy()),
        crop,
        bs=batch_size,
        shuffle=True,
        drop_last=True,
        after_batch=dls.train.after_batch,
        device=dls.device,
    )
    return dls


class Erase(RandTransform):
    """Put noise in the place of some rectangle, in a share `p` of the photos of a batch.

    fastai's own erases the same rectangle of all of them.
    """

    order = 100  # after normalisation

    def __init__(self, p: float):
        super().__init__(p=1.0)
        self.erase = RandomErasing(p, value="random")

    def encodes(self, photos: TensorImage) -> TensorImage:
        """Erase in each photo for itself."""
        return torch.stack([self.erase(photo) for photo in photos])


def augmented(
    farthest: float = 0.6,
    flip: bool = True,
    rotate: float = 10.0,
    warp: float = 0.1,
    light: float = 0.2,
    colour: float = 0.0,
    erase: float = 0.0,
) -> list[Transform]:
    """Return what happens to a batch of training photos at random, each photo for itself.

    Half are turned by up to `rotate` degrees, tilted by up to `warp` and seen from farther away,
    down to `farthest` times their scale, because visitors don't frame a bird as tightly as a data
    set does; half are mirrored (`flip`); `light` changes brightness and contrast, `colour` hue and
    saturation, by at most these shares; `erase` is the share of photos that lose some rectangle.
    """
    made = aug_transforms(
        do_flip=flip,
        max_rotate=rotate,
        min_zoom=farthest,
        max_zoom=1.0,
        max_warp=warp,
        max_lighting=light,
        p_affine=0.5,
        p_lighting=0.75 if light else 0,
        pad_mode="border",
    )
    if colour:
        made += [Hue(max_hue=colour), Saturation(max_lighting=colour)]
    if erase:
        made.append(Erase(erase))
    return made
