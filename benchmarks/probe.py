"""Measure a linear probe on a frozen backbone by cross-validation.

    python -m benchmarks.probe FOLDER

The accuracy that any training has to exceed. Every photo is predicted once, by a probe that was not
fitted on it, so that the interval is that of all photos.
"""

import argparse

import numpy as np
from sklearn.model_selection import StratifiedKFold

from fieldmark.data.datasets import load_dataset
from fieldmark.network.embeddings import compute_embeddings
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from fieldmark.network.probe import fit_probe
from fieldmark.network.weights import resolve_weights
from fieldmark.statistics import wilson_interval


def main() -> None:
    """Print the accuracy of the probe with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="photos, as a recipe's `photos`")
    parser.add_argument("--arch", default="tf_efficientnetv2_b0")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--folds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, photos = load_dataset(options.folder)
    photos = photos[photos["split"] == "train"]
    names, labels = np.unique(photos["label"], return_inverse=True)
    preparation = Preparation.for_arch(options.arch)
    weights = resolve_weights(options.weights)
    network = Network.create(options.arch, list(names), preparation, weights)
    embeddings = compute_embeddings(network, [folder / path for path in photos["path"]])
    folds = StratifiedKFold(options.folds, shuffle=True, random_state=options.seed)
    correct = 0
    for train, test in folds.split(embeddings, labels):
        probe = fit_probe(embeddings[train], labels[train])
        correct += int((probe.logits(embeddings[test]).argmax(1) == labels[test]).sum())
    accuracy = wilson_interval(correct, len(labels))
    low, high = accuracy["interval"]
    print(f"{options.folds} folds, seed {options.seed}, {options.arch}, {accuracy['n']} photos:")
    print(f"accuracy {accuracy['value']:.1%} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
