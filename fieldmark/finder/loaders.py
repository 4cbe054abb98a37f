"""Loaders of random scenes for fastai, made by worker processes."""

from collections.abc import Iterator

import torch
from fastai.data.core import DataLoaders
from torch.utils.data import DataLoader, Sampler

from birds.process import cpu_count
from fieldmark.finder.dataset import TRAIN, VALID, SceneDataset
from fieldmark.finder.scenes import Sources


class Consecutive(Sampler):
    """Numbers of scenes; with `goes_on` each pass goes on where the last one ended."""

    def __init__(self, count: int, goes_on: bool):
        self.count, self.goes_on, self.start = count, goes_on, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        numbers = range(self.start, self.start + self.count)
        if self.goes_on:
            self.start += self.count
        return iter(numbers)


def make_scene_loaders(
    train: Sources,
    valid: Sources,
    size: int,
    scenes: int,
    valid_scenes: int,
    batch_size: int = 16,
    num_workers: int = -1,
    seed: int = 0,
    whole_share: float = 0.3,
    fine_size: int = 0,
) -> DataLoaders:
    """Return loaders of new scenes for each epoch, `scenes` of them, and of the same held-out ones.

    The numbers of scenes are rounded up to whole batches.
    """
    workers = cpu_count() if num_workers < 0 else num_workers
    loaders = []
    for part, sources, count in ((TRAIN, train, scenes), (VALID, valid, valid_scenes)):
        count = -(-count // batch_size) * batch_size
        loaders.append(
            DataLoader(
                SceneDataset(sources, size, batch_size, seed, part, whole_share, fine_size),
                batch_size,
                sampler=Consecutive(count, goes_on=part == TRAIN),
                num_workers=workers,
                persistent_workers=workers > 0,
                prefetch_factor=4 if workers else None,
                pin_memory=torch.cuda.is_available(),
            )
        )
    return DataLoaders(*loaders)
