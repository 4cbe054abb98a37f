"""Scenes as a data set: the same scene for the same seed and number, in any process."""

import numpy as np
import torch
from torch.utils.data import Dataset

from fieldmark.finder.scenes import Sources, make_scene
from fieldmark.finder.targets import make_target

MULTIPLE, MIN_SIDE = 32, 96  # pixels: sides of the network's input
SHAPES = ((1, 3 / 4), (3 / 4, 1), (1, 2 / 3), (1, 1))  # shares of the longer side; one a batch
SCALES = (1, 0.8, 1, 1.3)  # of the longer side: training scenes of a batch are smaller or larger
FINE_SCALES = (1, 1.25, 1)  # the same for a finder with a second look, whose size is the fourth
TRAIN, VALID = 0, 1  # keep the random numbers of the two data sets apart


class SceneDataset(Dataset):
    """Random scenes with their boxes, for a network whose input's longer side is `size` pixels.

    `scene(number)` returns the pixels, uint8 [H, W, 3], and the boxes of scene `number`, an item
    the pixels and the target. The scenes of each batch have one shape; those of VALID are of one
    size, those of TRAIN also smaller and larger, and of `fine_size` if the finder looks twice.
    """

    def __init__(
        self,
        sources: Sources,
        size: int,
        batch_size: int,
        seed: int,
        part: int,
        whole_share: float = 0.3,
        fine_size: int = 0,
    ):
        self.sources, self.batch_size, self.whole_share = sources, batch_size, whole_share
        self.seed = (seed, part)
        scales = (*FINE_SCALES, fine_size / size) if fine_size else SCALES
        self.shapes = [
            tuple(round_side(scale * share * size) for share in shares)
            for scale in (scales if part == TRAIN else [1])
            for shares in SHAPES
        ]

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


def round_side(side: float) -> int:
    """Return a side of the network's input in pixels, for a side of a scaled photo."""
    return max(MIN_SIDE, round(side / MULTIPLE) * MULTIPLE)
