"""A probe answers as the scikit-learn model it was fitted by, folded or in a Learner's head."""

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


def made(classes: int):
    """Make features of very different scales, one of them always the same, and labels."""
    features, labels = make_classification(
        300, 20, n_informative=8, n_classes=classes, random_state=0
    )
    features = features * np.geomspace(0.01, 100, 20) + 5
    features[:, 3] = 7
    return features.astype("float32"), labels


def test_the_majority_is_the_share_of_the_commonest_training_label():
    taught = pd.Series(["wren"] * 3 + ["jay"] * 2)
    found = majority_accuracy(taught, pd.Series(["jay", "jay", "jay", "wren"]))
    assert found["value"] == 0.25
    assert found["n"] == 4


@pytest.mark.parametrize("classes", [2, 4])
def test_the_folded_weights_give_scikit_learns_probabilities(classes):
    features, labels = made(classes)
    probe = fit_probe(features, labels, C=0.1)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    oracle.fit(features, labels)
    logits = torch.from_numpy(features @ probe.weight.T + probe.bias)
    assert probe.weight.shape == (classes, 20)
    assert logits.softmax(1).numpy() == pytest.approx(oracle.predict_proba(features), abs=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_head_that_begins_as_the_probe_answers_as_it_does(classes):
    features, labels = made(classes)
    probe = fit_probe(features, labels)
    head = create_head(20, classes)
    probe.initialize_head(head)
    with torch.no_grad():
        found = head.eval()(torch.from_numpy(features)[..., None, None])
    expected = features @ probe.weight.T + probe.bias
    assert found.numpy() == pytest.approx(expected, abs=1e-3 * abs(expected).max())


def test_the_accuracy_is_that_of_photos_it_never_saw():
    features, labels = made(4)
    probe = fit_probe(features[:200], labels[:200])
    found = probe.accuracy(features[200:], labels[200:])
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    oracle.fit(features[:200], labels[:200])
    assert found["value"] == pytest.approx(oracle.score(features[200:], labels[200:]))
    assert found["n"] == 100


def test_a_smaller_c_holds_the_weights_back():
    features, labels = made(4)
    loose, tight = (abs(fit_probe(features, labels, C).weight).sum() for C in (1, 0.001))
    assert tight < loose / 2
