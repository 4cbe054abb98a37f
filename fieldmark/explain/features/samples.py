"""The features of a sample of photos: the range of each channel, and what excites it most."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.features.stages import Stages

BATCH_SIZE = 8


@dataclass(frozen=True, eq=False)
class Sample:
    """The mean of each channel over the positions of n photos.

    `pixels` are the photos as the network sees them, uint8 [n, S, S, 3], `paths` theirs. `means`
    holds the means by stage, [n, D], `deviations` the standard deviation over positions and
    photos, [D].
    """

    paths: list[str]
    pixels: np.ndarray
    means: dict[str, np.ndarray]
    deviations: dict[str, np.ndarray]


def sample_training_photos(explained: ExplainedRun, count: int, seed: int = 0) -> pd.DataFrame:
    """Return a random sample of photos of `train`, as even over the labels as it can be."""
    train = explained.photos[explained.photos["split"] == "train"].sample(frac=1, random_state=seed)
    order = train.groupby("label").cumcount().sort_values(kind="stable")
    return train.loc[order.index[:count]]


def to_images(pixels: np.ndarray) -> torch.Tensor:
    """Return pixels, uint8 [N, S, S, 3], as images between 0 and 1, [N, 3, S, S]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def measure_photos(
    explained: ExplainedRun, stages: Stages, count: int = 96, seed: int = 0
) -> Sample:
    """Return the features of a sample of photos of `train`."""
    paths = sample_training_photos(explained, count, seed)["path"].tolist()
    pixels = explained.prepare(paths)
    moments: dict[str, list[torch.Tensor]] = {name: [] for name in stages.channels}
    with torch.no_grad():
        for batch in np.array_split(pixels, -(-len(pixels) // BATCH_SIZE)):
            features = stages(to_images(batch).to(stages.mean.device))
            for name, found in moments.items():
                maps = features[name].cpu().double()
                found.append(torch.stack([maps.mean((2, 3)), (maps**2).mean((2, 3))]))
    joined = {name: torch.cat(found, 1).numpy() for name, found in moments.items()}
    means = {name: first for name, (first, _) in joined.items()}
    deviations = {
        name: np.sqrt((second.mean(0) - first.mean(0) ** 2).clip(1e-12))
        for name, (first, second) in joined.items()
    }
    return Sample(paths, pixels, means, deviations)
