"""The part of a DataLoader's photos that one of several processes gets."""

import random
from collections.abc import Callable

import numpy as np
from fastai.distributed import DistributedDL
from fastai.vision.all import TfmdDL

from fieldmark.data.cached_loader import CachedLoader


class ProcessLoader(DistributedDL):
    """A DataLoader of one process: its part of each batch in training, else of all photos.

    The processes' parts of a training batch together are the batch of a single process, where
    fastai's own class would divide the photos of an epoch, and leave out others. `share` returns
    the first process's value in every process; fastai's way to do that works on GPUs only.
    """

    def __init__(self, loader: TfmdDL, rank: int, size: int, share: Callable):
        self.share, self.whole = share, loader
        super().__init__(loader.new(bs=loader.bs // size), rank, size)

    def __len__(self) -> int:
        """Return the number of batches, which is that of a single process."""
        return len(self.whole)

    @property
    def rng(self) -> random.Random:
        """The generator that orders the photos."""
        return self.dl.rng

    @rng.setter
    def rng(self, generator: random.Random) -> None:
        self.dl.rng = generator

    def _broadcast(self, t: list[int], rank: int) -> list[int]:
        return self.share(t)

    def get_idxs(self) -> list[int]:
        """Return the indices of this process's photos, in the order of its batches."""
        if not self.drop_last:
            return super().get_idxs()
        order = self.share(list(self.dl.get_idxs()))
        self.n = self.n_padded = len(order)  # which fastai reads when it gathers predictions
        batches = np.array(order[: len(self) * self.whole.bs], int)
        return batches.reshape(len(self), self.world_size, -1)[:, self.rank].ravel().tolist()

    def __iter__(self):
        """Yield batches, then switch a cached loader's crop off, as that loader would."""
        try:
            yield from super().__iter__()
        finally:
            if isinstance(self.whole, CachedLoader):
                self.whole.crop.aspects = None
