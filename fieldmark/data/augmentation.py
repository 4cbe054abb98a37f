"""Random changes to batches of training photos."""

import torch
from fastai.vision.all import Hue, RandTransform, Saturation, TensorImage, aug_transforms
from torchvision.transforms.v2 import RandomErasing

from fieldmark.data.distance import LoseDetail, Shrink


class ErasePerPhoto(RandTransform):
    """Replace a rectangle by noise in a fraction `p` of the photos of a batch.

    fastai's RandomErasing erases the same rectangle in all photos of a batch.
    """

    order = 100  # after normalisation

    def __init__(self, p: float):
        super().__init__(p=1.0)
        self.erase = RandomErasing(p, value="random")

    def encodes(self, photos: TensorImage) -> TensorImage:
        """Erase in each photo separately."""
        return TensorImage(torch.stack([self.erase(photo) for photo in photos]))


def make_augmentations(
    min_scale: float = 0.6,
    shrink_share: float = 0.25,
    max_shift: float = 0.1,
    min_aspect: float = 0.75,
    grounds: torch.Tensor | None = None,
    min_resolution: float = 0.5,
    flip: bool = True,
    max_rotate: float = 10.0,
    max_warp: float = 0.1,
    max_lighting: float = 0.2,
    colour_jitter: float = 0.0,
    random_erasing: float = 0.0,
) -> list:
    """Return the batch transforms of training photos; each photo is changed independently.

    Half of the photos are rotated by up to `max_rotate` degrees and warped by up to `max_warp`,
    half are mirrored (`flip`). A fraction `shrink_share` is shrunk and shifted as `Shrink` does,
    and half lose detail, down to `min_resolution`: crops of distant birds are looser and coarser
    than the photos of most data sets. `max_lighting` limits the change of brightness and contrast,
    `colour_jitter` that of hue and saturation, all as fractions; `random_erasing` is the fraction
    of photos that lose a rectangle.
    """
    transforms = aug_transforms(
        do_flip=flip,
        max_rotate=max_rotate,
        max_zoom=1.0,
        max_warp=max_warp,
        max_lighting=max_lighting,
        p_affine=0.5,
        p_lighting=0.75 if max_lighting else 0,
        pad_mode="reflection",
    )
    if shrink_share and (min_scale < 1 or max_shift or min_aspect < 1):
        transforms.append(Shrink(shrink_share, min_scale, max_shift, min_aspect, grounds))
    if min_resolution < 1:
        transforms.append(LoseDetail(min_resolution))
    if colour_jitter:
        transforms += [Hue(max_hue=colour_jitter), Saturation(max_lighting=colour_jitter)]
    if random_erasing:
        transforms.append(ErasePerPhoto(random_erasing))
    return transforms
