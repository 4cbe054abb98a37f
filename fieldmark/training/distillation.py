"""A teacher: another network, which knows the birds already, for the Learner to learn from."""

from pathlib import Path

import timm
import torch
from fastai.vision.all import Learner, Normalize
from torch import nn

from fieldmark.errors import RunError, WeightsError
from fieldmark.evaluation import calibration
from fieldmark.network.backbone import timm_options
from fieldmark.network.network import Network
from fieldmark.network.preparation import renormalization
from fieldmark.network.probe import fit_probe
from fieldmark.network.weights import (
    describe_weights,
    find_weights_file,
    load_pretrained,
    resolve_weights,
)
from fieldmark.run import Run
from fieldmark.statistics import wilson_interval
from fieldmark.training.learner import features
from fieldmark.training.mixed_precision import autocast

SETTING = "FIELDMARK_TEACHER"


class TeacherNet(nn.Module):
    """A frozen network and a linear probe, asked with photos as the Learner's own body gets them.

    Takes photos [n, 3, S, S] normalised by the Learner's `norm`, gives logits of the Learner's
    labels, [n, C], and of the classes that the network itself was taught, [n, K]. Where there is a
    `run`, the labels' are that one's instead of a probe's, or the mean of both, the probe's by its
    `weight`.
    """

    def __init__(
        self,
        network: nn.Module,
        norm: Normalize,
        mean: tuple,
        std: tuple,
        run: nn.Module | None = None,
        weight: float = 1.0,
    ):
        super().__init__()
        self.network, self.head, self.run = network, nn.Identity(), run
        self.weight = weight if run else 1.0
        scale, shift = away(norm, mean, std)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.requires_grad_(False)

    @property
    def classes(self) -> int:
        """K: in how many classes of its own the network answers; 0 if it doesn't."""
        return self.network.num_classes

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return both kinds of logits; none of its own classes where only its run is asked."""
        answers = 0.0
        if self.run:
            answers = (1 - self.weight) * self.run(photos).log_softmax(1)
        if not self.weight and not self.classes:
            return answers, None
        embedding = self.embedding(photos)
        if self.weight:
            answers = answers + self.weight * self.head(embedding).log_softmax(1)
        return answers, self.network.get_classifier()(embedding)

    def embedding(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the vector that the network's own classifier reads, [n, D]."""
        photos = photos.as_subclass(torch.Tensor) * self.scale + self.shift
        maps = self.network.forward_features(photos.contiguous(memory_format=torch.channels_last))
        return self.network.forward_head(maps, pre_logits=True)


class Trained(nn.Module):
    """The network of a run, for photos in a Learner's normalisation; logits are calibrated."""

    def __init__(self, model: nn.Module, norm: Normalize, card: dict):
        super().__init__()
        self.model, self.temperature = model.eval(), card["temperature"]
        made = card["preparation"]
        scale, shift = away(norm, made["mean"], made["std"])
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return logits [n, C]."""
        photos = photos.as_subclass(torch.Tensor) * self.scale + self.shift
        return self.model(photos.contiguous(memory_format=torch.channels_last)) / self.temperature


def away(norm: Normalize, mean: tuple, std: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and shift from a Learner's normalisation to another."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (mean, std))
    return renormalization(norm.mean.cpu(), norm.std.cpu(), mean, std)


def make_teacher(
    learn: Learner,
    arch: str,
    weights: str = "pretrained",
    mean: tuple | None = None,
    std: tuple | None = None,
    num_classes: int = 0,
    precision: str = "float32",
    run: str = "",
    probe_weight: float = 0.0,
    **options,
) -> tuple[TeacherNet, float]:
    """Make a teacher of a timm network; a linear probe on the photos of `train` is its head.

    Or else a `run` knows the labels, such as an ensemble, which learned from no photo that judges
    here; `probe_weight` is what the probe's answers count beside that one's, made as sure as suits
    `valid`. FIELDMARK_TEACHER overrides `weights`. `mean` and `std` are by channel, the
    architecture's own unless given; with `num_classes`, as many as its file has, it also answers
    in these; `options` go to timm. `precision` is that in which it is asked for its probe. Returns
    the teacher and its accuracy on `valid`.
    Raises WeightsError where the weights or the run can't be had.
    """
    weights = wanted_teacher(weights=weights)
    config = timm.get_pretrained_cfg(arch)
    options = timm_options(arch, learn.model[0].size, **options)
    network = load_pretrained(arch, weights, num_classes, SETTING, **options)
    network = network.eval().to(learn.dls.device, memory_format=torch.channels_last)
    norm = next(t for t in learn.dls.valid.after_batch.fs if isinstance(t, Normalize))
    knows = trained(run, learn, norm) if run else None
    net = TeacherNet(network, norm, mean or config.mean, std or config.std, knows, probe_weight)
    net = net.to(learn.dls.device)
    if net.weight:
        give_probe(net, learn, precision)
    return net, right(net, learn, precision)


def give_probe(net: TeacherNet, learn: Learner, precision: str) -> None:
    """Fit a probe on the photos of `train`; beside a run, divide it by what suits `valid`."""
    (taught, labels), (asked, truth) = features(learn, net.embedding, precision)
    fitted = fit_probe(taught.numpy(), labels.numpy(), C=0.01)
    logits = asked.numpy() @ fitted.weight.T + fitted.bias
    warmth = calibration.fit_temperature(logits, truth.numpy()) if net.run else 1.0
    net.head = nn.Linear(*reversed(fitted.weight.shape)).requires_grad_(False)
    net.head.weight.copy_(torch.from_numpy(fitted.weight / warmth))
    net.head.bias.copy_(torch.from_numpy(fitted.bias / warmth))
    net.head.to(learn.dls.device)


def right(net: TeacherNet, learn: Learner, precision: str) -> float:
    """Return the share of `valid` that a teacher names."""
    found = total = 0
    for photos, labels in learn.dls.valid:
        with torch.no_grad(), autocast(precision):
            found += int((net(photos)[0].argmax(1) == labels).sum())
        total += len(labels)
    return wilson_interval(found, total)["value"]


def trained(run: str, learn: Learner, norm: Normalize) -> Trained:
    """Return the network of a run for the same labels.

    Raises WeightsError where there is none, for other labels or another size, or if it learned from
    photos that judge here: it would tell what it was told.
    """
    try:
        teacher = Network.load(Path(run))
    except RunError as error:
        raise WeightsError(f"The teacher's run {run} can't be had: {error}") from error
    card, photos = Run(run).card, Run(run).split
    if teacher.labels != list(learn.dls.vocab):
        raise WeightsError(f"The teacher's run {run} was taught other labels.")
    size = card["preparation"]["size"]
    if size != learn.model[0].size:
        raise WeightsError(
            f"The teacher's run {run} looks at photos of {size} pixels, and this one at "
            f"{learn.model[0].size}. Train both at one `size`."
        )
    paths = {part: set(table["path"]) for part, table in photos.groupby("split")}
    taught, tuned = (set(loader.items["path"]) for loader in (learn.dls.train, learn.dls.valid))
    elsewhere = (paths["train"] - taught) | (paths["valid"] - taught - tuned)
    if elsewhere:
        raise WeightsError(
            f"The teacher's run {run} learned from {len(elsewhere)} photos that judge here, "
            f"like {min(elsewhere)}. Train it on the same photos, with the same shares and seed."
        )
    return Trained(teacher.model, norm, card)


def check_teacher(run: str = "", **teacher) -> None:
    """Raise WeightsError unless the weights and the run of a recipe's teacher are in place."""
    find_weights_file(wanted_teacher(**teacher), SETTING)
    if run:
        _ = Run(run).card


def wanted_teacher(weights: str = "pretrained", **_) -> str:
    """Return a recipe's `weights` of the teacher, or what FIELDMARK_TEACHER says in their place."""
    return resolve_weights(weights, SETTING)


def teacher_facts(arch: str, weights: str = "pretrained", run: str = "", **_) -> dict:
    """Tell what taught: architecture, the file of the weights with its SHA-256, and the run."""
    facts = {"architecture": arch} | describe_weights(wanted_teacher(weights))
    if run:
        card = Run(run).card
        facts["run"] = {key: card[key] for key in ("name", "version", "architecture")}
    return facts
