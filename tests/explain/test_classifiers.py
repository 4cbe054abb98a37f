"""Classic classifiers on embeddings, beside the network."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics.pairwise import cosine_similarity

from benchmarks import classifiers as benchmark
from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain import classifiers
from fieldmark.explain.classifiers_plot import plot_classifiers


def make_run(shift=0.0, seed=0):
    """Return a run of 3 species whose network errs on every fourth calibration photo.

    `shift` moves the calibration photos of the first species to the second.
    """
    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1, 2], 40)
    splits = np.where(np.arange(120) % 2, "train", "calibration")
    embedding = 5 * np.eye(3, 6)[truth] + 0.3 * rng.normal(size=(120, 6))
    moved = (splits == "calibration") & (truth == 0)
    embedding[moved] += shift * 5 * (np.eye(3, 6)[1] - np.eye(3, 6)[0])
    predicted = np.where(np.arange(120) % 8 == 0, (truth + 1) % 3, truth)
    paths = [f"{number}.jpg" for number in range(120)]
    logits = 9.0 * np.eye(3)[predicted]
    predictions = Predictions(list("abc"), paths, truth, logits, embedding, splits)
    return SimpleNamespace(predictions=predictions)


def test_each_classifier_is_judged_on_calibration_and_compared_with_the_network():
    explained = make_run()
    table = classifiers.judge_classifiers(explained, {"own": explained.predictions.embedding})
    network, rows = table.iloc[0], table.iloc[1:]
    assert (table["n"] == 60).all()
    assert network["accuracy"] == 0.75
    assert (rows["accuracy"] == 1).all()
    assert (rows["only_classifier"] == 15).all()
    np.testing.assert_allclose(rows["p"], binomtest(0, 15).pvalue)
    np.testing.assert_allclose(rows["adjusted"], len(rows) * binomtest(0, 15).pvalue)
    assert (rows["difference_low"] > 0).all()
    assert plot_classifiers(table)


def test_no_classifier_sees_a_calibration_photo():
    explained = make_run(shift=1.0)
    table = classifiers.judge_classifiers(explained, {"own": explained.predictions.embedding})
    np.testing.assert_allclose(table["accuracy"][1:], 2 / 3, atol=0.02)


def test_the_nearest_mean_by_cosine_ignores_lengths():
    rng = np.random.default_rng(0)
    embeddings, labels = rng.normal(size=(50, 4)), np.arange(50) % 3
    model = classifiers.NearestMeanCosine().fit(embeddings, labels)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    means = np.stack([units[labels == label].mean(0) for label in range(3)])
    expected = cosine_similarity(embeddings, means).argmax(1)
    np.testing.assert_array_equal(model.predict(embeddings), expected)
    np.testing.assert_array_equal(model.predict(7 * embeddings), expected)


@pytest.mark.slow
def test_classifiers_of_a_run_are_published(run, folder, weights, monkeypatch, capsys):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))
    monkeypatch.setenv("FIELDMARK_WEIGHTS", str(weights))
    benchmark.main(run)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 1 + 2 * 8
    assert "the network" in rows[1]
