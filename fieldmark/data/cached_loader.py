"""Batches of training photos cut from a cache, and cropped on the device in one resampling."""

import torch
from fastai.vision.all import (
    AffineCoordTfm,
    PadMode,
    TensorCategory,
    TensorImage,
    TfmdDL,
)
from fastai.vision.augment import affine_mat

from fieldmark.data.cache import Cache

RATIOS = (3 / 4, 4 / 3)  # of a random crop, as torchvision and fastai have it


class Crop(AffineCoordTfm):
    """Cut a rectangle out of each cached photo, to become a square of `size` pixels.

    Its area is `closest` of the largest square in the photo or more, its place and shape are drawn
    at random; `closest` of 1 is the middle square itself. It takes part in the one resampling of
    all that fastai does by coordinates, and only where the loader said of which `aspects` the
    photos are: elsewhere photos were cut when they were read.
    """

    def __init__(self, size: int, closest: float):
        self.closest, self.aspects = closest, None
        super().__init__(self.matrix, size=size, pad_mode=PadMode.Border, align_corners=True)

    def matrix(self, photos: torch.Tensor) -> torch.Tensor | None:
        """Return the rectangles as matrices [n, 3, 3] from a square's coordinates to a photo's."""
        if self.aspects is None:
            return None
        aspects = self.aspects.to(photos.device)
        width, height = self.sides(aspects)
        x, y = width / aspects, height  # shares of the photo, which lies squeezed in the cache
        free = 0.0 if self.closest == 1 else 1.0
        left, top = (free * torch.empty_like(x).uniform_(-1, 1) for _ in range(2))
        return affine_mat(x, 0 * x, left * (1 - x), 0 * x, y, top * (1 - y))

    def sides(self, aspects: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw width and height of the rectangles, for photos of height 1."""
        square = aspects.clamp(max=1)
        if self.closest == 1:
            return square, square
        low, high = torch.tensor(RATIOS).log()
        area = torch.empty_like(aspects).uniform_(self.closest, 1)
        ratio = torch.empty_like(aspects).uniform_(low, high).exp()
        width = square * (area * ratio).sqrt()
        return width.minimum(aspects), (square * (area / ratio).sqrt()).clamp(max=1)


class CachedDL(TfmdDL):
    """A loader whose batches come out of a cache in one step, without one in Python a photo.

    Photos are uint8 [n, 3, side, side], `labels` int [N] those of the cache's photos. It works in
    the Learner's own process: there is nothing to decode, and `after_batch` runs on the device.
    """

    def __init__(self, dataset, cache: Cache | None = None, labels=None, crop=None, **options):
        self.cache, self.labels, self.crop = cache, labels, crop
        super().__init__(dataset, **options | {"num_workers": 0})

    def __iter__(self):
        """Yield batches; then the crop knows no aspects, and leaves other loaders' photos alone."""
        try:
            yield from super().__iter__()
        finally:
            self.crop.aspects = None

    def do_item(self, row: int | None) -> int:
        """Take a row as it is; fastai asks for any with None."""
        return row or 0

    def do_batch(self, rows: list[int]) -> tuple[TensorImage, TensorCategory]:
        """Cut a batch; `after_batch` is through with one before the next is made."""
        photos, self.crop.aspects = self.cache.take(rows)
        return TensorImage(photos), TensorCategory(self.labels[rows])

    def new(self, dataset=None, cls=None, **options):
        """Make a loader like this one, of the same photos."""
        mine = {"cache": self.cache, "labels": self.labels, "crop": self.crop}
        return super().new(dataset, cls, **mine | options)
