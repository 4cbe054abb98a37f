"""Scenes as a data set: the same scene for the same seed and number, in any process."""

from collections.abc import Iterator

import numpy as np
import torch
from fastai.data.core import DataLoaders
from torch.utils.data import DataLoader, Dataset, Sampler

from birds.process import cpu_count
from fieldmark.finder.scenes import Sources, make_scene
from fieldmark.finder.targets import make_target

MULTIPLE = 32  # pixels: sides of the network's input
SHAPES = ((1, 3 / 4), (3 / 4, 1), (1, 2 / 3), (1, 1))  # shares of the longer side; one a batch
TRAIN, VALID = 0, 1  # keep the random numbers of the two data sets apart


class SceneDataset(Dataset):
    """Random scenes with their boxes, for a network whose input's longer side is `size` pixels.

    `scene(number)` returns the pixels, uint8 [H, W, 3], and the boxes of scene `number`, an item
    the pixels and the target. The scenes of each batch have one shape.
    """

    def __init__(
        self,
        sources: Sources,
        size: int,
        batch_size: int,
        seed: int,
        part: int,
        whole_share: float = 0.3,
    ):
        self.sources, self.batch_size, self.whole_share = sources, batch_size, whole_share
        self.seed = (seed, part)
        self.shapes = [tuple(round_side(share * size) for share in shares) for shares in SHAPES]

    def scene(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels and the boxes [n, 4] of a scene."""
        width, height = self.shapes[number // self.batch_size % len(self.shapes)]
        rng = np.random.default_rng([*self.seed, number])
        scene, boxes = make_scene(self.sources, rng, width, height, self.whole_share)
        return np.array(scene), boxes

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pixels and the target of a scene."""
        pixels, boxes = self.scene(number)
        target = make_target(boxes, *pixels.shape[:2])
        return torch.from_numpy(pixels), torch.from_numpy(target)


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
                SceneDataset(sources, size, batch_size, seed, part, whole_share),
                batch_size,
                sampler=Consecutive(count, goes_on=part == TRAIN),
                num_workers=workers,
                persistent_workers=workers > 0,
                prefetch_factor=4 if workers else None,
                pin_memory=torch.cuda.is_available(),
            )
        )
    return DataLoaders(*loaders)


def round_side(side: float) -> int:
    """Return a side of the network's input in pixels."""
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)
