"""Combine several runs, or snapshots of one, into one birds.onnx that passes the same gate."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from export.exporter import export_model
from export.predictions import predict_held_out
from fieldmark.data.run_photos import find_run_photos
from fieldmark.errors import RunError
from fieldmark.evaluation.metrics import compute_metrics
from fieldmark.evaluation.per_class import per_class_metrics
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.network.ensemble import average_weights, describe_member, join_networks
from fieldmark.network.network import Network
from fieldmark.recipe.renamed import rename_keys
from fieldmark.run import Run

DESCRIBED = ("name", "version", "weights", "teacher")  # of each member, in the ensemble's card


class Member(NamedTuple):
    """A run, or a snapshot in it, with its network."""

    path: Path
    run: Run
    network: Network


def load_members(paths: list[Path]) -> list[Member]:
    """Load runs, and snapshots of runs.

    Raises RunError unless all were trained on the same labels, split and preparation: a training
    photo of one must not evaluate the ensemble.
    """
    if len(paths) < 2:
        raise RunError("An ensemble needs at least two runs or snapshots. Name another one.")
    members = []
    for path in paths:
        run = find_run(path)
        snapshot = None if run.folder == path else path
        members.append(Member(path, run, Network.load(run, snapshot=snapshot)))
        if "members" in run.card:
            raise RunError(f"{path} is an ensemble itself. Name the runs that it consists of.")
    first, *others = members
    for other in others:
        if not first.run.split.equals(other.run.split):
            raise RunError(
                f"{other.path} has another split than {first.path}, so training photos of one "
                "would evaluate the ensemble. Train both with the same photos, shares and seed."
            )
        for key in ("size", "filter"):
            values = [getattr(each.network.preparation, key) for each in (first, other)]
            if values[0] != values[1]:
                raise RunError(
                    f"{other.path} prepares photos with another {key} ({values[1]}) than "
                    f"{first.path} ({values[0]}). Train both with the same one."
                )
    return members


def find_run(path: Path) -> Run:
    """Return a run, given its folder or a snapshot in it."""
    run = Run(path.parent.parent)
    return run if path.parent == run.snapshots else Run(path)


def combine(members: list[Member], method: str) -> Network:
    """Return one network that averages `logits` or `weights`.

    Raises RunError for weights of different architectures or normalisations.
    """
    networks = [member.network for member in members]
    if method == "logits":
        return join_networks(networks, [member.run.card["temperature"] for member in members])
    if any(identity(network) != identity(networks[0]) for network in networks):
        raise RunError(
            "Weights can only be averaged for one architecture with the same options, mean and "
            "std. Average the logits instead."
        )
    return average_weights(networks)


def identity(network: Network) -> tuple:
    """Return what networks must share for their weights to have the same meaning."""
    return describe_member(network), network.preparation.mean, network.preparation.std


def export_ensemble(paths: list[Path], out: Path, method: str = "logits") -> dict:
    """Export several runs as one into `out`, evaluated as a run is; return the card.

    Raises RunError for networks that cannot be combined, and whatever `export_model` raises.
    """
    if out.resolve() in {find_run(path).folder.resolve() for path in paths}:
        raise RunError(f"{out} is one of the runs and would be overwritten. Name another folder.")
    members = load_members(paths)
    network, cards = combine(members, method), [member.run.card for member in members]
    first = members[0].run
    facts: dict[str, Any] = {
        key: "; ".join(dict.fromkeys(card[key] for card in cards))
        for key in ("trained_on", "licence")
    }
    facts |= {
        "name": out.name,
        "weights": first.card["weights"],
        "recipe": rename_keys(first.card["recipe"]) | {"name": out.name, "open_set_run": ""},
        "training": sum_training([member.run for member in members]),
        "ensemble": {
            "method": method,
            "members": [
                {key: card.get(key) for key in DESCRIBED} | {"file": path.name}
                for path, card in zip(paths, cards, strict=True)
            ],
        },
    }
    photos, folder = first.split, find_run_photos(first)
    options = UncertaintyOptions.from_recipe(facts["recipe"])
    dtype = facts["recipe"].get("weights_dtype", "fp16")
    predictions = predict_held_out(network, photos, folder, dtype)
    run = Run.create(out).clear()
    card = export_model(network, photos, folder, facts, run.folder, options, dtype, predictions)
    reported = predictions[1].of_split("calibration")
    train_counts = photos["label"][photos["split"] == "train"].value_counts()
    run.write_results(
        pd.DataFrame(columns=["phase", "epoch", "seconds"]),  # an ensemble is not trained
        reported.table,
        per_class_metrics(reported, train_counts),
        compute_metrics(reported),
    )
    run.finish()
    return card


def sum_training(runs: list[Run]) -> dict:
    """Return the card's `training` of an ensemble: the seconds and epochs of all its runs.

    `seconds` is None if one of the runs did not record them.
    """
    different = {run.folder.resolve(): run for run in runs}.values()
    entries = [run.card.get("training", {}) for run in different]
    seconds = [training.get("seconds") for training in entries]
    return {
        "seconds": None if None in seconds else round(sum(seconds), 1),
        "epochs": sum(training.get("epochs") or 0 for training in entries),
        "kept_epoch": None,
        "selection": "each network kept its own epoch",
    }
