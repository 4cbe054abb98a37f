"""What a Learner makes of photos along its validation path: the truth that files are held to."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from fastai.vision.all import Learner


class Look(NamedTuple):
    """What a Learner made of N photos: logits [N, C] and embedding [N, D], float32."""

    logits: np.ndarray
    embedding: np.ndarray


def look(learn: Learner, photos: Iterable[Path | bytes]) -> Look:
    """Let a Learner look at photos: files, or their bytes."""
    loader = learn.dls.test_dl(list(photos), rm_type_tfms=1, num_workers=0)
    body, head = learn.model.eval()
    logits, embedding = [], []
    with torch.no_grad():
        for (batch,) in loader:
            features = body(batch.as_subclass(torch.Tensor))
            logits.append(head(features).float().cpu())
            embedding.append(features.mean((2, 3)).float().cpu())
    return Look(torch.cat(logits).numpy(), torch.cat(embedding).numpy())
