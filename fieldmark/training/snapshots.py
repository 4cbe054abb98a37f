"""Save the weights at the end of each warm restart, for an ensemble of one run."""

from pathlib import Path

import numpy as np
from fastai.vision.all import Callback
from safetensors.torch import save

from fieldmark.files import write_bytes
from fieldmark.training.distributed import ranks, unwrap


class Snapshots(Callback):
    """Save the weights whenever the learning rate has fallen to 0 (Huang et al. 2017).

    `ends` are the fractions of the fit at which it has; the files are 1.safetensors and so on. A
    resumed fit has the snapshots that were saved before.
    """

    order = 70  # after the optimizer step

    def __init__(self, folder: Path, ends: np.ndarray, epochs_done: int, epochs: int):
        self.folder, self.ends, self.epochs_done, self.epochs = folder, ends, epochs_done, epochs

    def after_batch(self):
        """Save the weights if this was the last step of a fall."""
        if not self.training or ranks().rank:
            return
        model = unwrap(self.model)
        steps = (self.epochs_done + self.epoch) * self.n_iter + self.iter + 1
        last_steps = np.rint(self.ends * self.epochs * self.n_iter)
        for index in np.flatnonzero(last_steps == steps):
            state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
            write_bytes(self.folder / f"{index + 1}.safetensors", save(state))
