"""DataLoaders whose validation photos are prepared by the very code that serves."""

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
    IntToFloatTensor,
    Normalize,
    PILImage,
    RandomResizedCrop,
    RandTransform,
    TfmdDL,
    TransformBlock,
    aug_transforms,
)
from PIL import Image

from birds import photo

from .photos import PhotosError


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

    def __init__(self, size: int, closest: float):
        super().__init__(p=1.0)
        self.size = size
        self.crop = RandomResizedCrop(size, closest, resamples=(photo.FILTER, photo.FILTER))

    def before_call(self, b, split_idx: int | None):
        """Note whether this is for training; fastai calls it before `encodes`."""
        super().before_call(b, split_idx)
        self.training = split_idx == 0

    def encodes(self, data: PhotoFile) -> PILImage:
        """Frame one photo; PhotosError names a file that can't be read."""
        try:
            if self.training:
                image, _ = photo.decode(data, self.size)
                return self.crop(PILImage(photo.to_rgb(image)), split_idx=0)
            return PILImage(Image.fromarray(photo.prepare(data, self.size)))
        except photo.PhotoError as error:
            raise PhotosError(f"{data.source} can't be learned from: {error}") from error


def settings(arch: str, size: int = 0) -> dict:
    """Read `size` (pixels, unless given), `mean` and `std` from an architecture's timm config."""
    config = timm.get_pretrained_cfg(arch)
    shape = config.test_input_size or config.input_size
    return {"size": size or shape[-1], "mean": config.mean, "std": config.std}


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
    batch_size: int = 32,
    closest: float = 0.5,
    farthest: float = 0.6,
    validate: str = "tune",
) -> DataLoaders:
    """Make the DataLoaders: train on the part `train`, validate on the part `validate`.

    A training photo is cropped at random to `closest` of its area or more and to another aspect
    ratio, flipped, lit otherwise, and every other one turned and seen from farther away, down to
    `farthest` times its scale, because visitors don't frame a bird as tightly as a data set does.
    Normalisation is explicit: fastai adds it of itself only to pretrained weights.
    """
    shown = photos[photos["split"].isin(["train", validate])].reset_index(drop=True)
    block = DataBlock(
        blocks=(
            TransformBlock(type_tfms=PhotoFile.read, batch_tfms=IntToFloatTensor),
            CategoryBlock(vocab=sorted(photos["label"].unique())),
        ),
        get_x=ColReader("path", pref=f"{folder}/"),
        get_y=ColReader("label"),
        splitter=ColSplitter("split", on=validate),
        item_tfms=[Frame(size, closest)],
        batch_tfms=Normalize.from_stats(mean, std),
    )
    workers = None if torch.cuda.is_available() else 0  # a CPU is busy with the model already
    dls = block.dataloaders(shown, bs=batch_size, num_workers=workers)
    # fastai's own place for these would warp validation photos too, by the identity and rounding
    warps = aug_transforms(
        min_zoom=farthest, max_zoom=1.0, max_warp=0.1, p_affine=0.5, pad_mode="border"
    )
    dls.add_tfms(warps, "after_batch", "train")
    return dls
