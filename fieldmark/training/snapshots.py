"""What a run with warm restarts knew at the end of each fall of its rate, for an ensemble."""

from pathlib import Path

import numpy as np
from fastai.vision.all import Callback
from safetensors.torch import save_file

FOLDER = "snapshots"


class Snapshots(Callback):
    """Write the weights whenever the rate has come down, at so many `ends`, shares of the fit.

    The files are 1.safetensors and so on (Huang et al. 2017). A run that is stopped and goes on has
    those that it wrote before.
    """

    order = 70  # when the step is taken

    def __init__(self, folder: Path, ends: np.ndarray, done: int, epochs: int):
        self.folder, self.ends, self.done, self.epochs = folder, ends, done, epochs

    def after_batch(self):
        """Write them if this was the last step of a fall."""
        if not self.training:
            return
        steps = (self.done + self.epoch) * self.n_iter + self.iter + 1
        last = np.rint(self.ends * self.epochs * self.n_iter)
        for number in np.flatnonzero(last == steps):
            self.folder.mkdir(exist_ok=True)
            state = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
            save_file(state, self.folder / f"{number + 1}.safetensors")
