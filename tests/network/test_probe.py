"""A probe predicts as the scikit-learn model it was fitted by, folded or in a head."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fieldmark.network.head import create_head
from fieldmark.network.probe import fit_probe, majority_accuracy


def make_features(classes: int):
    """Make features of very different scales, one of them always the same, and labels."""
    features, labels = make_classification(
        300, 20, n_informative=8, n_classes=classes, random_state=0
    )
    features = features * np.geomspace(0.01, 100, 20) + 5
    features[:, 3] = 7
    return features.astype("float32"), labels


def test_the_majority_accuracy_is_that_of_the_most_common_train_label():
    train = pd.Series(["wren"] * 3 + ["jay"] * 2)
    accuracy = majority_accuracy(train, pd.Series(["jay", "jay", "jay", "wren"]))
    assert accuracy["value"] == 0.25
    assert accuracy["n"] == 4


@pytest.mark.parametrize("classes", [2, 4])
def test_the_folded_weights_give_scikit_learns_probabilities(classes):
    features, labels = make_features(classes)
    probe = fit_probe(features, labels, C=0.1)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    oracle.fit(features, labels)
    logits = torch.from_numpy(features @ probe.weight.T + probe.bias)
    assert probe.weight.shape == (classes, 20)
    assert logits.softmax(1).numpy() == pytest.approx(oracle.predict_proba(features), abs=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_head_initialised_by_a_probe_predicts_the_same(classes):
    features, labels = make_features(classes)
    probe = fit_probe(features, labels)
    head = create_head(20, classes)
    probe.initialize_head(head)
    with torch.no_grad():
        logits = head.eval()(torch.from_numpy(features)[..., None, None])
    expected = features @ probe.weight.T + probe.bias
    assert logits.numpy() == pytest.approx(expected, abs=1e-3 * abs(expected).max())


def test_the_accuracy_is_measured_on_other_photos():
    features, labels = make_features(4)
    probe = fit_probe(features[:200], labels[:200])
    accuracy = probe.accuracy(features[200:], labels[200:])
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    oracle.fit(features[:200], labels[:200])
    assert accuracy["value"] == pytest.approx(oracle.score(features[200:], labels[200:]))
    assert accuracy["n"] == 100


def test_a_smaller_c_regularises_more():
    features, labels = make_features(4)
    loose, tight = (abs(fit_probe(features, labels, C).weight).sum() for C in (1, 0.001))
    assert tight < loose / 2
