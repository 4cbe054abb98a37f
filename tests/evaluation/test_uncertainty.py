"""Temperature, prediction sets and out-of-distribution scores, with libraries as oracles."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from birds.prediction_set import prediction_set
from fieldmark.data import found_birds
from fieldmark.data.locations import draw_objects
from fieldmark.errors import RunError
from fieldmark.evaluation import calibration, conformal, ood
from fieldmark.evaluation.guarantees import measure_uncertainty
from fieldmark.evaluation.open_set import describe_open_set_run
from fieldmark.evaluation.predictions import Predictions
from fieldmark.evaluation.proposals import propose_middle
from fieldmark.evaluation.thresholds import cross_fit, set_thresholds
from fieldmark.evaluation.uncertainty import (
    UncertaintyOptions,
    fit_uncertainty,
    list_unfamiliar,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the oracles' own imports
    from mapie.classification import SplitConformalClassifier
    from mapie.conformity_scores import RAPSConformityScore
    from pytorch_ood.detector import EnergyBased, MaxSoftmax


@pytest.fixture(scope="module")
def calibrated():
    """Return logits and labels of 20,000 photos whose probabilities are exact at temperature 1."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 5)) * 2
    sums = softmax(logits, axis=1).cumsum(1)
    return logits, (generator.random((20_000, 1)) > sums).sum(1).clip(0, 4)


def create(logits, truth, split, **columns) -> Predictions:
    labels, paths = [str(n) for n in range(logits.shape[1])], [str(n) for n in range(len(truth))]
    return Predictions(labels, paths, truth, logits, splits=np.full(len(truth), split), **columns)


def look_at_middle(predictions):
    """Return predictions for the only crop of each photo."""
    return propose_middle(
        pd.DataFrame({"path": predictions.paths, "split": predictions.splits}), predictions
    )


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_corrects_confidence_that_is_too_high_or_too_low(calibrated, factor):
    logits, truth = calibrated
    assert calibration.fit_temperature(factor * logits, truth) == pytest.approx(factor, rel=0.03)


def test_a_few_photos_that_are_all_correct_do_not_drive_the_temperature_to_0():
    logits = np.array([[2.0, 0.0, 0.0]] * 6)
    assert calibration.fit_temperature(logits, np.zeros(6, int)) > 0.2


def test_the_calibration_error_is_computed_over_bins(calibrated):
    """Of six photos with 75 % confidence three are correct, of two with 95 % both."""
    confidence = np.array([0.75] * 6 + [0.95] * 2)
    correct = np.array([1, 1, 1, 0, 0, 0, 1, 1], bool)
    error = calibration.expected_calibration_error(confidence, correct)
    assert error == pytest.approx((6 * 0.25 + 2 * 0.05) / 8)
    table = calibration.reliability_table(confidence, correct)
    assert table["n"].tolist() == [6, 2]
    assert table["accuracy"].tolist() == [0.5, 1.0]
    logits, truth = calibrated
    errors = [
        calibration.expected_calibration_error(p.max(1), p.argmax(1) == truth)
        for p in (softmax(logits, axis=1), softmax(3 * logits, axis=1))
    ]
    assert errors[0] < 0.02 < 0.1 < errors[1]


def test_a_conformal_quantile_is_high_enough_for_the_level():
    assert conformal.conformal_quantile(np.arange(19.0), 0.95) == 18
    assert conformal.conformal_quantile(np.arange(39.0), 0.95) == 37.5  # the 38th and the next
    assert conformal.conformal_quantile(np.arange(18.0), 0.95) is None


@pytest.mark.parametrize("method", [conformal.LAC, conformal.RAPS])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_prediction_sets_hold_the_truth_as_often_as_guaranteed(calibrated, method, level):
    probability, truth = softmax(calibrated[0], axis=1), calibrated[1]
    rule = conformal.fit_rule(probability[:10_000], truth[:10_000], level, method)
    covered, _ = conformal.apply_rule(probability[10_000:], truth[10_000:], rule)
    assert level - 0.01 < covered.mean()


@pytest.mark.parametrize("method", [conformal.LAC, conformal.RAPS])
def test_prediction_sets_are_those_of_the_function(calibrated, method):
    probability, truth = softmax(calibrated[0][:300], axis=1), calibrated[1][:300]
    rule = conformal.fit_rule(probability, truth, 0.9, method)
    covered, size = conformal.apply_rule(probability, truth, rule)
    served = [prediction_set(row, rule) for row in probability]
    assert size.tolist() == [len(labels) for labels in served]
    assert covered.tolist() == [t in labels for t, labels in zip(truth, served, strict=True)]


class FixedProbabilities:
    """A fitted scikit-learn classifier whose input is its output."""

    classes_ = np.arange(5)

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(1)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("method", [conformal.LAC, conformal.RAPS])
def test_prediction_sets_are_about_as_large_as_mapies(calibrated, method):
    probability, truth = softmax(calibrated[0], axis=1), calibrated[1]
    fitted, measured = slice(0, 2000), slice(2000, 6000)
    scores = {conformal.LAC: "lac", conformal.RAPS: RAPSConformityScore(size_raps=0.2)}
    mapie = SplitConformalClassifier(
        FixedProbabilities(), confidence_level=0.9, conformity_score=scores[method], prefit=True
    )
    mapie.conformalize(probability[fitted], truth[fitted])
    _, sets = mapie.predict_set(probability[measured])
    rule = conformal.fit_rule(probability[fitted], truth[fitted], 0.9, method)
    _, size = conformal.apply_rule(probability[measured], truth[measured], rule)
    tolerance = 0.02 if method == conformal.LAC else 0.25  # MAPIE tunes the penalty of RAPS
    assert size.mean() == pytest.approx(sets[..., 0].sum(1).mean(), rel=tolerance)
    if method == conformal.LAC:
        assert (size == np.maximum(sets[..., 0].sum(1), 1)).mean() > 0.99


def test_the_method_with_smaller_sets_is_chosen():
    assert conformal.choose_method({"lac": {"size": 1.2}, "raps": {"size": 1.1}}) == "raps"
    assert conformal.choose_method({"lac": {"size": 1.1}, "raps": {"size": 1.1}}) == "lac"
    assert conformal.choose_method(None) == "lac"


def test_cross_fitted_thresholds_hold_as_guaranteed_and_no_better(calibrated):
    """A photo that set its own threshold would hold more often."""
    score = np.random.default_rng(1).random(400)
    predictions = create(calibrated[0][:400], calibrated[1][:400], "calibration", ood_score=score)
    proposals = look_at_middle(predictions)
    thresholds = set_thresholds(proposals, "lac", 0.9, 0.05)
    applied = cross_fit(proposals, thresholds)
    assert applied.chosen.paths == predictions.paths
    assert 0.85 < applied.covered.mean() < 0.96
    assert 0.02 < applied.rejected.mean() < 0.08
    figures = measure_uncertainty(proposals, thresholds, [None] * 5)["metrics"]
    assert figures["known_rejection_rate"]["value"] == pytest.approx(applied.rejected.mean())
    low, high = figures["coverage"]["interval"]
    assert low < 0.9 < high


@pytest.fixture(scope="module")
def train():
    """Return predictions of twelve classes of training photos, far apart."""
    generator, truth = np.random.default_rng(0), np.repeat(np.arange(12), 20)
    embedding = 0.5 + 5 * np.eye(12)[truth] + 0.3 * generator.random((240, 12))
    logits = 4 * np.eye(12)[truth] + 0.3 * generator.normal(size=(240, 12))
    arrays = {"embedding": embedding.astype(np.float32)}
    return create(logits.astype(np.float32), truth, "train", **arrays)


@pytest.mark.parametrize("name", ood.SCORES)
def test_every_score_is_higher_for_unfamiliar_photos(name, train):
    unfamiliar = replace(
        train.select(np.arange(5)),
        logits=np.full((5, 12), 0.1, np.float32),
        embedding=np.full((5, 12), 9.0, np.float32),
    )
    score = ood.fit_scores(train)[name]
    scores = [ood.compute_score(score, photos, 1.0) for photos in (train, unfamiliar)]
    assert ood.auroc(*scores) > 0.95


def test_the_distance_is_that_of_mahalanobis_with_scikit_learns_covariance(train):
    means = np.stack([train.embedding[train.truth == label].mean(0) for label in range(12)])
    fitted = LedoitWolf(assume_centered=True).fit(train.embedding - means[train.truth])
    moved = train.embedding[:7] + np.linspace(0, 3, 7)[:, None]
    expected = np.min([fitted.mahalanobis(moved - mean) for mean in means], axis=0) / 12
    photos = replace(train.select(np.arange(7)), embedding=moved)
    distance = ood.compute_score(ood.Mahalanobis(train), photos, 1.0)
    assert np.allclose(distance, expected, rtol=0.02)


@pytest.mark.parametrize(
    ("score", "detector", "offset"),
    [(ood.MaximumSoftmax(), MaxSoftmax, 1.0), (ood.Energy(), EnergyBased, 0.0)],
)
def test_scores_equal_those_of_pytorch_ood(train, score, detector, offset):
    logits = torch.from_numpy(train.logits)
    expected = detector.score(logits, 1.0).numpy()
    assert np.allclose(ood.compute_score(score, train, 1.0), offset + expected, atol=1e-5)


def test_the_auroc_is_scikit_learns():
    generator = np.random.default_rng(0)
    familiar, unfamiliar = generator.normal(size=50).round(1), generator.normal(1, 1, 30).round(1)
    expected = roc_auc_score(np.repeat([0, 1], [50, 30]), np.r_[familiar, unfamiliar])
    assert ood.auroc(familiar, unfamiliar) == pytest.approx(expected)


def test_the_best_score_is_chosen_or_a_default_without_unfamiliar_photos():
    compared = {"energy": {"a": 0.7, "b": 0.9}, "mahalanobis": {"a": 0.85, "b": 0.8}}
    assert ood.choose_score(compared, 100) == "mahalanobis"
    assert ood.choose_score({"energy": {}}, 100) == "mean_logits"
    assert ood.choose_score({"energy": {}}, 6) == "knn"


@pytest.mark.parametrize("split", ["train", "calibration", "test"])
def test_only_valid_photos_choose_temperature_score_and_method(train, split):
    other = replace(train, splits=np.full(len(train), split))
    with pytest.raises(ValueError, match="`valid` only"):
        fit_uncertainty(look_at_middle(other), train, {}, UncertaintyOptions())


def test_half_of_the_unfamiliar_photos_choose_and_the_others_measure(table, tmp_path):
    photos = table.assign(split=table["split"].replace("valid", "unseen"))
    things = sorted(draw_objects(tmp_path, 20).iterdir())
    options = UncertaintyOptions(ood_photos={"not_birds": things})
    unfamiliar = list_unfamiliar(photos, options)
    counts = unfamiliar.groupby(["split", "chooses"]).size()
    assert counts["not_birds"].tolist() == [10, 10]
    assert counts["unseen"].sum() == (photos["split"] == "unseen").sum()
    fixed = list_unfamiliar(photos, replace(options, ood_score="energy"))
    assert not fixed["chooses"].any()
    assert fixed["reports"].all()
    searched = list_unfamiliar(photos, replace(options, finder=tmp_path, ood_score="energy"))
    uses = searched.groupby("split")[["is_ground", "reports"]].sum()
    assert uses.loc["not_birds"].tolist() == [10, 10]
    assert uses.loc["unseen", "is_ground"] == 0
    assert (searched["is_ground"] ^ searched["reports"]).all()


def test_a_recipe_gives_the_options_and_an_open_set_run_the_score(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(found_birds, "SHIPPED_FINDER", tmp_path / "missing.onnx")
    things = str(draw_objects(tmp_path, 20))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "000.jpg").read_bytes()[:-200])
    recipe = {"coverage": 0.8, "known_rejection_rate": 0.1, "ood_score": "auto"}
    recipe["not_birds"] = things
    options = UncertaintyOptions.from_recipe(recipe, {"score": "energy"})
    assert (options.coverage, options.known_rejection_rate) == (0.8, 0.1)
    assert (options.ood_score, len(options.ood_photos["not_birds"])) == ("energy", 20)
    assert f"{cut} is left out: " in capsys.readouterr().out
    fixed = UncertaintyOptions.from_recipe(recipe | {"ood_score": "msp"}, {"score": "energy"})
    assert fixed.ood_score == "msp"
    assert UncertaintyOptions.from_recipe({}) == UncertaintyOptions()
    monkeypatch.setattr(found_birds, "SHIPPED_FINDER", cut)
    assert UncertaintyOptions.from_recipe({}).finder == cut
    monkeypatch.setenv("FIELDMARK_FINDER", "mine.onnx")
    assert UncertaintyOptions.from_recipe({}).finder == Path("mine.onnx")


def test_a_run_that_left_out_no_species_is_no_open_set_run(tmp_path, run):
    assert describe_open_set_run("") is None
    with pytest.raises(RunError, match=str(tmp_path)):
        describe_open_set_run(str(tmp_path))
    with pytest.raises(RunError, match="unseen_share"):
        describe_open_set_run(str(run))
