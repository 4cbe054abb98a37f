"""Learners that train in a moment: a head on random embeddings, without photos or backbone."""

import pytest
import torch
from fastai.vision.all import (
    AccumMetric,
    Callback,
    DataLoaders,
    LabelSmoothingCrossEntropy,
    Learner,
    accuracy,
)
from torch.utils.data import TensorDataset

from fieldmark.checkpoints import load_checkpoints
from fieldmark.network.head import create_head
from fieldmark.recipe.recipe_file import to_yaml
from fieldmark.run import Run
from fieldmark.training.fit import OPTIMIZERS, fit_phase
from fieldmark.training.learner import log_loss, top_5
from tests.conftest import ARCH, SIZE

CLASSES, WIDTH = 6, 8
SHORT = {"frozen_epochs": 1, "frozen_learning_rate": 0.01, "epochs": 1}
SHORT |= {"batch_size": 8, "num_workers": 0}


def copy_state(module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed_tensors(before: dict, module) -> list[str]:
    now = module.state_dict()
    return [name for name, tensor in before.items() if not torch.equal(tensor, now[name])]


def load_checkpoint(run, phase="fine-tuning") -> dict:
    return load_checkpoints(run / "checkpoints")[phase]


class PowerCut(Callback):
    """End the process after an epoch, as a power cut does."""

    order = 85

    def __init__(self, epoch):
        self.last_epoch = epoch

    def after_epoch(self):
        if self.epoch == self.last_epoch:
            raise KeyboardInterrupt


class Recorder(Callback):
    """Record the learning rates, inputs and optimizer steps of training."""

    order = 90
    run_valid = False
    name = "test_recorder"

    def __init__(self):
        self.rates, self.inputs, self.optimizer_steps = [], [], 0

    def before_batch(self):
        self.rates.append([group["lr"] for group in self.opt.hypers])
        self.inputs.append(self.x.detach().clone())

    def after_step(self):
        self.optimizer_steps += 1


@pytest.fixture
def new_head_learner():
    """Return a function that creates a Learner of a head on random embeddings."""

    def create(optimizer="adamw") -> Learner:
        torch.manual_seed(0)
        centres = torch.randn(CLASSES, WIDTH)
        datasets = []
        for count in (40, 24):
            labels = torch.arange(count) % CLASSES
            embeddings = centres[labels] + torch.randn(count, WIDTH)
            datasets.append(TensorDataset(embeddings[..., None, None], labels))
        return Learner(
            DataLoaders.from_dsets(*datasets, bs=8, device="cpu"),
            create_head(WIDTH, CLASSES),
            LabelSmoothingCrossEntropy(0.1),
            metrics=[accuracy, top_5, AccumMetric(log_loss, flatten=False)],
            opt_func=OPTIMIZERS[optimizer],
            wd=0.01,
        )

    return create


@pytest.fixture
def quiet_fit(tmp_path, table):
    """Return a function that fits a phase in a folder, without progress bars."""

    def fit(learn, epochs=2, learning_rates=0.01, folder="run", phase="fine-tuning", **options):
        run = Run(tmp_path / folder).begin({"seed": 1}, table)
        with learn.no_bar(), learn.no_logging():
            return fit_phase(learn, run, phase, epochs, learning_rates, **options)

    return fit


@pytest.fixture
def recipe_file(folder, weights, tmp_path, monkeypatch):
    """Write a recipe that trains the tiny network on the drawn birds; start in its folder."""
    monkeypatch.chdir(tmp_path)
    values = {"photos": str(folder), "arch": ARCH, "weights": str(weights), "size": SIZE} | SHORT
    values |= {"valid_share": 0.2, "calibration_share": 0.2, "not_birds": "drawn"}
    file = tmp_path / "tiny.yaml"
    file.write_text("".join(f"{key}: {to_yaml(value)}\n" for key, value in values.items()))
    return file
