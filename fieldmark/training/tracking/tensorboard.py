"""TensorBoard: curves, histograms and pictures of a run, in its folder `tensorboard`."""

from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from fieldmark.training.tracking.trackers import Tracker

BINS = 64  # of a histogram; TensorBoard draws 30
TOGETHER = {
    "training": {
        "loss": ["Multiline", ["loss/train", "loss/valid"]],
        "metrics": ["Multiline", ["metrics/.*"]],
        "learning rates": ["Multiline", ["rate/.*"]],
    }
}


class TensorBoard(Tracker):
    """Write a run's events, of which TensorBoard makes its charts."""

    def __init__(self, out: Path, recipe: dict):
        self.folder, self.recipe = Path(out) / "tensorboard", recipe
        goes_on = any(self.folder.glob("events.*"))
        self.writer = SummaryWriter(self.folder)
        if not goes_on:
            text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
            self.writer.add_text("recipe", "".join(f"    {line}\n" for line in text.splitlines()))
            self.writer.add_custom_scalars(TOGETHER)
            self.writer.flush()

    def begin(self, step: int) -> None:
        """Go on in a new file, which says that steps after this one count no more."""
        self.writer.close()
        self.writer = SummaryWriter(self.folder, purge_step=step + 1)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write a point of each curve."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def epoch(self, step: int, row: dict) -> None:
        """Let all be seen that was written until now."""
        self.writer.flush()

    def histograms(self, step: int, values: dict[str, torch.Tensor]) -> None:
        """Write how the numbers of each tensor are spread; those that exploded are left out."""
        for name, value in values.items():
            numbers = value.detach().float().cpu().numpy()
            numbers = numbers[np.isfinite(numbers)]
            if numbers.size:
                self.writer.add_histogram(name, numbers, step, bins=BINS, max_bins=BINS)

    def figure(self, step: int, file: Path) -> None:
        """Write a picture, at once: a run that goes on writes those before its fit no more."""
        pixels = np.asarray(Image.open(file).convert("RGB"))
        self.writer.add_image(f"pictures/{file.stem}", pixels, step, dataformats="HWC")
        self.writer.flush()

    def end(self, step: int, measured: dict[str, float], files: list[Path]) -> None:
        """Write what recipe came to what, for the table of all runs."""
        recipe = {name: plain(value) for name, value in self.recipe.items()}
        found = {f"results/{name}": value for name, value in measured.items()}
        self.writer.close()
        self.writer.add_hparams(recipe, found, run_name=".", global_step=step)
        self.writer.close()


def plain(value) -> int | float | str:
    """Return a parameter as a number or as words, which is all that TensorBoard takes."""
    return value if type(value) in (int, float) else str(value)
