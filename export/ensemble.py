"""Make one birds.onnx of several runs, or of the snapshots of one, through the same gate."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
from fastai.vision.all import Learner

from export.exporter import publish
from export.rebuild import restore_learner
from fieldmark.errors import UserError
from fieldmark.evaluation import metrics as judge
from fieldmark.evaluation.open_set import promises
from fieldmark.network.ensemble import average_weights, describe_member, join_networks
from fieldmark.network.network import Network
from fieldmark.run import Run
from fieldmark.training.learner import make_learner
from fieldmark.training.snapshots import FOLDER

TOLD = ("name", "version", "weights", "teacher")  # of each network, in the card of the whole


class EnsembleError(UserError):
    """Networks that can't be made one; the text says which and why."""


class Member(NamedTuple):
    """A run, or a snapshot of one, as it was restored: Learner, split, folder of photos, card."""

    learn: Learner
    photos: pd.DataFrame
    folder: Path
    card: dict


def members(paths: list[Path]) -> list[Member]:
    """Restore runs, and snapshots of runs.

    Raises EnsembleError unless all learned the same labels from the same photos, prepared alike: a
    photo that taught one can't judge the whole.
    """
    if len(paths) < 2:
        raise EnsembleError("An ensemble takes two runs or snapshots at least.")
    found = []
    for path in paths:
        run = run_of(path)
        member = Member(*restore_learner(run))
        if run != path:
            member = member._replace(
                learn=make_learner(Network.load(run, snapshot=path), member.learn.dls)
            )
        found.append(member)
        if "members" in member.card:
            raise EnsembleError(f"{path} is several networks already; name the runs it is made of.")
    first, *others = found
    for path, other in zip(paths[1:], others, strict=True):
        if not first.photos.equals(other.photos):
            raise EnsembleError(
                f"{path} had another split than {paths[0]}, so that photos which taught one would "
                "judge the whole. Train both on the same photos, with the same shares and seed."
            )
        for key in ("size", "filter"):
            one, another = (each.card["preparation"][key] for each in (first, other))
            if one != another:
                raise EnsembleError(
                    f"{path} takes photos by another {key} ({another}) than {paths[0]} ({one})."
                )
    return found


def run_of(path: Path) -> Path:
    """Return the folder of a run, given that or a snapshot in it."""
    return path.parent.parent if path.parent.name == FOLDER else path


def together(found: list[Member], method: str) -> tuple[Network, dict]:
    """Return one network of several, and the facts on it for its card.

    Raises EnsembleError for weights that have no average.
    """
    networks = [member.learn.network for member in found]
    for network in networks:
        network.model.cpu().eval()
    if method == "weights":
        if any(alike(network) != alike(networks[0]) for network in networks):
            raise EnsembleError(
                "Only weights of one architecture have an average, made with the same options, for "
                "photos of one mean and std."
            )
        return average_weights(networks), {"architecture": networks[0].arch}
    network = join_networks(networks, [member.card["temperature"] for member in found])
    return network, {"architecture": network.arch, "members": network.members}


def alike(network: Network) -> tuple:
    """Return what networks must have in common for their weights to mean the same."""
    return describe_member(network), network.preparation.mean, network.preparation.std


def ensemble(paths: list[Path], out: Path, method: str = "logits") -> dict:
    """Publish several runs as one into `out`, judged as a run is; return the card.

    Raises EnsembleError for networks that don't go together, and whatever `publish` does.
    """
    if out.resolve() in {run_of(path).resolve() for path in paths}:
        raise EnsembleError(f"{out} is one of the runs, and would be lost. Name another OUT.")
    found = members(paths)
    learn, photos, folder, card = found[0]
    network, made = together(found, method)
    learn.model, learn.network = network.model, network
    cards = [member.card for member in found]
    for key in ("trained_on", "licence"):
        made[key] = "; ".join(dict.fromkeys(each[key] for each in cards))
    made["weights"] = card["weights"]
    made["name"] = out.name
    made["recipe"] = card["recipe"] | {"name": out.name, "open_set_run": ""}
    made["ensemble"] = {
        "method": method,
        "members": [
            {key: each.get(key) for key in TOLD} | {"file": path.name}
            for path, each in zip(paths, cards, strict=True)
        ],
    }
    made["training"] = sum_training({run_of(path) for path in paths})
    answers = judge.answers(learn, photos, "calibration")
    classes = judge.per_class(answers, photos["label"][photos["split"] == "train"].value_counts())
    size, filter = (card["preparation"][key] for key in ("size", "filter"))
    promised = promises(made["recipe"])
    card = publish(learn, photos, folder, size, made, out, filter, promised)
    no_epochs = pd.DataFrame(columns=["stage", "epoch", "seconds"])
    Run(out).write_results(no_epochs, answers.table, classes, judge.metrics(answers))
    return card


def sum_training(runs: set[Path]) -> dict:
    """Return the card's `training` of an ensemble: the seconds and epochs of all its runs.

    `seconds` is None if one of the runs did not record them.
    """
    each_training = [Run(run).card.get("training", {}) for run in runs]
    seconds = [training.get("seconds") for training in each_training]
    return {
        "seconds": None if None in seconds else round(sum(seconds), 1),
        "epochs": sum(training.get("epochs") or 0 for training in each_training),
        "kept_epoch": None,
        "selection": "each network kept its own epoch",
    }
