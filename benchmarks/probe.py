"""Measure a linear probe on a frozen backbone by cross-validation.

    python -m benchmarks.probe FOLDER [--arch tf_efficientnetv2_b0] [--weights FILE]

Any training has to beat it. Each photo is tested once, by a probe that was fitted without it, so
that the interval is that of all photos.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from sklearn.model_selection import StratifiedKFold

from benchmarks.results import FIGURE, Save, percent, report
from fieldmark.data.datasets import load_dataset
from fieldmark.network.embeddings import compute_embeddings
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from fieldmark.network.probe import fit_probe
from fieldmark.network.weights import resolve_weights
from fieldmark.statistics import wilson_interval


def main(
    folder: Annotated[str, typer.Argument(help="Photos, as a recipe's `photos`.")],
    arch: str = "tf_efficientnetv2_b0",
    weights: str = "pretrained",
    folds: int = 20,
    seed: int = 0,
    save: Save = False,
) -> None:
    """Print the accuracy of the probe."""
    root, photos = load_dataset(folder)
    embeddings, labels = embed_photos(arch, weights, root, photos[photos["split"] == "train"])
    splitter, correct = StratifiedKFold(folds, shuffle=True, random_state=seed), 0
    for train, test in splitter.split(embeddings, labels):
        probe = fit_probe(embeddings[train], labels[train])
        correct += int((probe.logits(embeddings[test]).argmax(1) == labels[test]).sum())
    title = f"first prediction right, linear probe on the frozen backbone, {folds}-fold"
    rows = [[title, percent(wilson_interval(correct, len(labels))), f"{len(labels):,}"]]
    report("probe", "python -m benchmarks.probe PHOTOS", FIGURE, rows, save)


def embed_photos(
    arch: str, weights: str, folder: Path, photos: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings [n, D] of photos by a frozen backbone, and their labels, int [n]."""
    names, labels = np.unique(photos["label"], return_inverse=True)
    preparation = Preparation.for_arch(arch)
    network = Network.create(arch, list(names), preparation, resolve_weights(weights))
    return compute_embeddings(network, [folder / path for path in photos["path"]]), labels


if __name__ == "__main__":
    typer.run(main)
