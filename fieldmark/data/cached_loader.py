"""Batches of training photos from a pixel cache, cropped on the device in one resampling."""

import torch
from fastai.vision.all import AffineCoordTfm, TensorCategory, TensorImage, TfmdDL
from fastai.vision.augment import affine_mat

from fieldmark.data.cache import PixelCache

RATIOS = (3 / 4, 4 / 3)  # of a random crop's sides, as in torchvision and fastai


class CachedCrop(AffineCoordTfm):
    """Crop a random rectangle of each cached photo, which becomes a square of `size` pixels.

    Its area is at least `min_area` of the photo's largest square; with `min_area` of 1 it is the
    centre square. fastai composes it with its other coordinate transforms into one resampling. It
    does nothing unless the loader has set `aspects`: other loaders' photos are already cropped.
    """

    def __init__(self, size: int, min_area: float):
        self.min_area = min_area
        self.aspects: torch.Tensor | None = None
        super().__init__(self.crop_matrices, size=size, pad_mode="reflection", align_corners=True)

    def crop_matrices(self, photos: torch.Tensor) -> torch.Tensor | None:
        """Return matrices [n, 3, 3] from the coordinates of crops to those of cached photos."""
        if self.aspects is None:
            return None
        aspects = self.aspects.to(photos.device)
        width, height = self.draw_sides(aspects)
        x, y = width / aspects, height  # as fractions of the squeezed photo
        freedom = 0.0 if self.min_area == 1 else 1.0
        left, top = (freedom * torch.empty_like(x).uniform_(-1, 1) for _ in range(2))
        return affine_mat(x, 0 * x, left * (1 - x), 0 * x, y, top * (1 - y))

    def draw_sides(self, aspects: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw widths and heights [n] of crops, for photos of height 1."""
        square = aspects.clamp(max=1)
        if self.min_area == 1:
            return square, square
        low, high = torch.tensor(RATIOS).log()
        area = torch.empty_like(aspects).uniform_(self.min_area, 1)
        ratio = torch.empty_like(aspects).uniform_(low, high).exp()
        width = square * (area * ratio).sqrt()
        return width.minimum(aspects), (square * (area / ratio).sqrt()).clamp(max=1)


class CachedLoader(TfmdDL):
    """A loader that reads whole batches from a pixel cache.

    `labels` [N], int, are those of the cache's photos; `crop` is the CachedCrop among the batch
    transforms. It works in the Learner's process, since there is nothing to decode.
    """

    def __init__(self, dataset, cache: PixelCache, labels, crop: CachedCrop, **options):
        self.cache, self.labels, self.crop = cache, labels, crop
        super().__init__(dataset, **options | {"num_workers": 0})

    def __iter__(self):
        """Yield batches, then switch the crop off for other loaders with the same transforms."""
        try:
            yield from super().__iter__()
        finally:
            self.crop.aspects = None

    def do_item(self, row: int | None) -> int:
        """Return the row; fastai asks with None for any row."""
        return row or 0

    def do_batch(self, rows: list[int]) -> tuple[TensorImage, TensorCategory]:
        """Read a batch; fastai applies `after_batch` to it before it asks for the next."""
        photos, self.crop.aspects = self.cache.read_rows(rows)
        return TensorImage(photos), TensorCategory(self.labels[rows])

    def new(self, dataset=None, cls=None, **options):
        """Return a loader of the same photos with other options."""
        cached = {"cache": self.cache, "labels": self.labels, "crop": self.crop}
        return super().new(dataset, cls, **cached | options)
