"""Create, check and describe the teacher that a recipe names."""

from pathlib import Path
from typing import Any

import timm
import torch
from fastai.vision.all import Learner
from torch import nn

from fieldmark.errors import RunError, WeightsError
from fieldmark.evaluation import calibration
from fieldmark.network.backbone import timm_options
from fieldmark.network.network import Network
from fieldmark.network.precision import autocast
from fieldmark.network.preparation import Preparation
from fieldmark.network.probe import fit_probe
from fieldmark.network.weights import (
    describe_weights,
    fetch_weights,
    load_pretrained,
    resolve_weights,
)
from fieldmark.run import Run
from fieldmark.statistics import wilson_interval
from fieldmark.training.learner import embed_splits
from fieldmark.training.teacher import PreLogits, Renormalized, Teacher

VARIABLE = "FIELDMARK_TEACHER"


def create_teacher(
    learn: Learner,
    folder: Path,
    arch: str,
    weights: str = "pretrained",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    num_classes: int = 0,
    precision: str = "float32",
    run: str = "",
    probe_weight: float = 0.0,
    **options: Any,
) -> tuple[Teacher, float]:
    """Create a teacher for a Learner; return it with its accuracy on `valid`.

    `folder` holds the photos of the Learner. The timm network `arch` gets `weights`
    (FIELDMARK_TEACHER overrides them), `options`, and the normalisation by `mean` and `std`, by
    default the architecture's. With `num_classes`, as many as
    the weights have, it keeps its own classifier. A probe on its embeddings of `train` predicts the
    labels, computed in `precision`, unless a `run` does; `probe_weight` mixes both. Raises
    WeightsError if the weights or the run are missing or do not fit the Learner.
    """
    student = learn.network.preparation
    model = load_pretrained(
        arch,
        resolve_weights(weights, VARIABLE),
        num_classes,
        VARIABLE,
        **timm_options(arch, student.size, **options),
    )
    config = timm.get_pretrained_cfg(arch)
    mean, std = tuple(mean or config.mean), tuple(std or config.std)
    preparation = Preparation(student.size, student.filter, mean, std)
    embedding = Renormalized(PreLogits(model.eval()), preparation, student)
    run_network, temperature = load_run_network(run, learn) if run else (None, 1.0)
    teacher = Teacher(embedding, run_network, temperature, probe_weight)
    teacher.eval().to(learn.dls.device, memory_format=torch.channels_last)
    if teacher.probe_weight:
        fit_teacher_probe(teacher, learn, folder, precision)
    return teacher, measure_accuracy(teacher, learn, precision)


def fit_teacher_probe(teacher: Teacher, learn: Learner, folder: Path, precision: str) -> None:
    """Fit the probe to embeddings of `train`; beside a run, calibrate it on `valid`."""
    splits = embed_splits(learn, folder, precision, backbone=teacher.embedding)
    (embeddings, labels), (valid_embeddings, valid_labels) = splits["train"], splits["valid"]
    probe = fit_probe(embeddings, labels, C=0.01)
    temperature = 1.0
    if teacher.run_network:
        temperature = calibration.fit_temperature(probe.logits(valid_embeddings), valid_labels)
    teacher.probe = nn.Linear(*reversed(probe.weight.shape)).requires_grad_(False)
    teacher.probe.weight.copy_(torch.from_numpy(probe.weight / temperature))
    teacher.probe.bias.copy_(torch.from_numpy(probe.bias / temperature))
    teacher.probe.to(learn.dls.device)


def measure_accuracy(teacher: Teacher, learn: Learner, precision: str) -> float:
    """Return a teacher's accuracy on `valid`."""
    correct = total = 0
    for photos, labels in learn.dls.valid:
        with torch.no_grad(), autocast(precision, learn.dls.device.type):
            correct += int((teacher(photos)[0].argmax(1) == labels).sum())
        total += len(labels)
    return wilson_interval(correct, total)["value"]


def load_run_network(folder: str, learn: Learner) -> tuple[Renormalized, float]:
    """Return the network of a run, for photos as the Learner normalises them, and its temperature.

    Raises WeightsError if there is no such run, if its labels or size differ, or if it was trained
    on photos that are evaluated here.
    """
    run = Run(folder)
    try:
        network, card, split = Network.load(run), run.card, run.split
    except RunError as error:
        raise WeightsError(f"The teacher's run {folder} cannot be loaded: {error}") from error
    if network.classes != learn.network.classes:
        raise WeightsError(f"The teacher's run {folder} has other labels. Train it on these.")
    sizes = [member.preparation.size for member in (network, learn.network)]
    if sizes[0] != sizes[1]:
        raise WeightsError(
            f"The teacher's run {folder} has photos of {sizes[0]} pixels, this one of {sizes[1]}. "
            "Train both at one `size`."
        )
    paths = {name: set(table["path"]) for name, table in split.groupby("split")}
    train, valid = (set(loader.items["path"]) for loader in (learn.dls.train, learn.dls.valid))
    leaked = (paths["train"] - train) | (paths["valid"] - train - valid)
    if leaked:
        raise WeightsError(
            f"Train/test leak: the teacher's run {folder} was trained on {len(leaked)} photos that "
            f"are evaluated here, such as {min(leaked)}. Train it with the same split and seed."
        )
    model = network.model.eval()
    source = learn.network.preparation
    return Renormalized(model, network.preparation, source), card["temperature"]


def check_teacher(arch: str, weights: str = "pretrained", run: str = "", **_: Any) -> None:
    """Raise WeightsError or RunError unless the files of a recipe's teacher are there.

    Pretrained weights are downloaded.
    """
    if run:
        _ = Run(Path(run)).card
    fetch_weights(arch, resolve_weights(weights, VARIABLE), VARIABLE)


def describe_teacher(arch: str, weights: str = "pretrained", run: str = "", **_: Any) -> dict:
    """Return the card's entry `teacher`: architecture, weights with their SHA-256, and run."""
    facts = {"architecture": arch} | describe_weights(resolve_weights(weights, VARIABLE))
    if run:
        card = Run(Path(run)).card
        facts["run"] = {key: card[key] for key in ("name", "version", "architecture")}
    return facts
