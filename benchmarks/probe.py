"""Measure a linear probe on a frozen backbone by cross-validation.

    python -m benchmarks.probe FOLDER [--arch tf_efficientnetv2_b0] [--weights FILE]

Any training has to beat it. Each photo is tested once, by a probe that was fitted without it, so
that the interval is that of all photos.
"""

from typing import Annotated

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
    photos = photos[photos["split"] == "train"]
    labels, names = photos["label"].factorize(sort=True)
    preparation = Preparation.for_arch(arch)
    network = Network.create(arch, list(names), preparation, resolve_weights(weights))
    embeddings = compute_embeddings(network, [root / path for path in photos["path"]])
    correct = 0
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(embeddings, labels):
        figure = fit_probe(embeddings[train], labels[train]).accuracy(
            embeddings[test], labels[test]
        )
        correct += round(figure["value"] * len(test))
    figure = wilson_interval(correct, len(labels))
    title = f"first prediction right, linear probe on the frozen backbone, {folds}-fold"
    rows = [[title, percent(figure), f"{figure['n']:,}"]]
    report("probe", "python -m benchmarks.probe PHOTOS", FIGURE, rows, save)


if __name__ == "__main__":
    typer.run(main)
