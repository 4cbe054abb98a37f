"""Measure a linear probe on a frozen body by cross-validation: `python -m benchmarks.probe FOLDER`.

What any training has to beat. Every photo judges once, and never a probe that it taught, so the
figure has the interval of all photos, where a single split would judge by a tenth of them.
"""

import argparse
from dataclasses import asdict

import numpy as np
from sklearn.model_selection import StratifiedKFold

from fieldmark.data import loaders as data
from fieldmark.data.datasets import load_dataset
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from fieldmark.network.probe import fit_probe
from fieldmark.network.weights import resolve_weights
from fieldmark.statistics import wilson_interval
from fieldmark.training.learner import features, make_learner


def main() -> None:
    """Print the accuracy of the probe with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="photos, as a recipe's `photos`")
    parser.add_argument("--arch", default="tf_efficientnetv2_b0")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--folds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    folder, photos = load_dataset(asked.folder)
    photos = photos[photos["split"] == "train"]
    # every photo goes through the validation path; one must train, or there is no DataLoader
    photos = photos.assign(split=["train", *["valid"] * (len(photos) - 1)])
    preparation = Preparation.for_arch(asked.arch)
    dls = data.make_dataloaders(photos, folder, **asdict(preparation), batch_size=64)
    weights = resolve_weights(asked.weights)
    network = Network.create(asked.arch, list(dls.vocab), preparation, weights)
    learn = make_learner(network, dls)
    parts = features(learn, learn.model[0].eval())
    seen, labels = (np.concatenate([part[i].numpy() for part in parts]) for i in (0, 1))
    folds = StratifiedKFold(asked.folds, shuffle=True, random_state=asked.seed)
    right = 0
    for taught, judged in folds.split(seen, labels):
        fitted = fit_probe(seen[taught], labels[taught])
        right += round(fitted.accuracy(seen[judged], labels[judged])["value"] * len(judged))
    found = wilson_interval(right, len(labels))
    low, high = found["interval"]
    print(f"{asked.folds} folds, seed {asked.seed}, {asked.arch}, {found['n']} photos:")
    print(f"{found['value']:.1%} right ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
