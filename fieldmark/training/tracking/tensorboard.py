"""Log a run to TensorBoard: curves, histograms and figures, in its folder `tensorboard`."""

from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from fieldmark.run import Run
from fieldmark.training.tracking.tracker import Tracker

BINS = 64  # of a histogram; TensorBoard draws 30
CHARTS = {
    "training": {
        "loss": ["Multiline", ["loss/train", "loss/valid"]],
        "metrics": ["Multiline", ["metrics/.*"]],
        "learning rates": ["Multiline", ["rate/.*"]],
    }
}


class TensorBoard(Tracker):
    """Write the event files of TensorBoard."""

    def __init__(self, run: Run, recipe: dict):
        self.folder, self.recipe = run.tensorboard, recipe
        is_new = not any(self.folder.glob("events.*"))
        self.writer = SummaryWriter(self.folder)
        if is_new:
            text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
            self.writer.add_text("recipe", "".join(f"    {line}\n" for line in text.splitlines()))
            self.writer.add_custom_scalars(CHARTS)
            self.writer.flush()

    def resume(self, step: int) -> None:
        """Start a new file that discards the steps after this one."""
        self.writer.close()
        self.writer = SummaryWriter(self.folder, purge_step=step + 1)

    def log_scalars(self, step: int, values: dict[str, float]) -> None:
        """Write a point of each curve."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def log_histograms(self, step: int, values: dict[str, torch.Tensor]) -> None:
        """Write the distribution of the finite values of each tensor."""
        for name, value in values.items():
            numbers = value.detach().float().cpu().numpy()
            numbers = numbers[np.isfinite(numbers)]
            if numbers.size:
                self.writer.add_histogram(name, numbers, step, bins=BINS, max_bins=BINS)

    def log_figure(self, step: int, file: Path) -> None:
        """Write a figure at once: a resumed run does not write those before its fit again."""
        pixels = np.asarray(Image.open(file).convert("RGB"))
        self.writer.add_image(f"pictures/{file.stem}", pixels, step, dataformats="HWC")
        self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        self.writer.flush()

    def finish(self, step: int, metrics: dict[str, float], files: list[Path]) -> None:
        """Write recipe and metrics for TensorBoard's table of runs."""
        recipe = {name: to_hyperparameter(value) for name, value in self.recipe.items()}
        results = {f"results/{name}": value for name, value in metrics.items()}
        self.writer.close()
        self.writer.add_hparams(recipe, results, run_name=".", global_step=step)
        self.writer.close()


def to_hyperparameter(value) -> int | float | str:
    """Return a parameter as a number or as text, the types that TensorBoard accepts."""
    return value if type(value) in (int, float) else str(value)
