"""Optimise images for an objective, by gradient ascent."""

import numpy as np
import torch

from fieldmark.explain.features.image import FourierImage
from fieldmark.explain.features.objectives import Objective
from fieldmark.explain.features.stages import Stages
from fieldmark.explain.features.transforms import random_views

LEARNING_RATE = 0.08


def visualise(
    stages: Stages,
    objective: Objective,
    *,
    colours: torch.Tensor,
    size: int = 128,
    steps: int = 128,
    batch: int = 1,
    seed: int = 0,
    strength: float = 1.0,
) -> np.ndarray:
    """Return images that maximise an objective, uint8 [batch, size, size, 3].

    Each step shows the network random views of all images, with `strength` as in `random_views`.
    `colours` is the `colour_basis` of photos that the network knows. The same seed gives the same
    images.
    """
    image = FourierImage(batch, size, colours, seed).to(stages.mean.device)
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(image.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -objective(stages(random_views(image(), random, strength)))
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        pixels = image().permute(0, 2, 3, 1)
    return (255 * pixels).round().byte().cpu().numpy()
