"""Metrics equal those of scikit-learn, and each comes with the interval of its kind."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support, top_k_accuracy_score

from fieldmark.evaluation import metrics
from fieldmark.evaluation.per_class import (
    accuracy_by_train_photos,
    most_confused,
    per_class_metrics,
    worst_classes,
)
from fieldmark.evaluation.predictions import Predictions
from tests.evaluation.test_predictions import create_predictions


@pytest.fixture(scope="module")
def many() -> Predictions:
    """Return predictions of some skill for 400 photos of nine classes."""
    generator = np.random.default_rng(0)
    truth = np.r_[np.arange(9), generator.integers(9, size=391)]
    logits = generator.normal(size=(400, 9))
    logits[np.arange(400), truth] += 1.5
    return Predictions(list("abcdefghi"), [str(n) for n in range(400)], truth, logits)


@pytest.fixture(scope="module")
def computed(many):
    return metrics.compute_metrics(many)


def test_metrics_are_scikit_learns(many, computed):
    precision, recall, f1, _ = precision_recall_fscore_support(
        many.truth, many.predicted, average="macro"
    )
    expected = {
        "accuracy": (many.truth == many.predicted).mean(),
        "top_5": top_k_accuracy_score(many.truth, many.probability, k=5),
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
    }
    values = {name: metric["value"] for name, metric in computed.items()}
    assert values == pytest.approx(expected, abs=1e-4)


def test_proportions_have_wilson_intervals_and_macro_means_those_of_a_bootstrap(many, computed):
    wilson = stats.binomtest(int(many.correct.sum()), 400).proportion_ci(0.95, "wilson")
    assert computed["accuracy"]["interval"] == pytest.approx(tuple(wilson), abs=1e-4)

    def macro_f1(truth, predicted):
        return precision_recall_fscore_support(
            truth, predicted, average="macro", labels=range(9), zero_division=0
        )[2]

    bootstrap = stats.bootstrap(
        (many.truth, many.predicted),
        macro_f1,
        paired=True,
        vectorized=False,
        n_resamples=200,
        method="BCa",
        rng=1,
    ).confidence_interval
    assert computed["macro_f1"]["interval"] == pytest.approx(tuple(bootstrap), abs=0.02)
    assert computed["macro_f1"]["method"] == "BCa bootstrap"


@pytest.mark.parametrize(("pairs", "value"), [("cc jj ww cc", 1.0), ("cj jw wc cw", 0.0)])
def test_few_photos_that_are_all_correct_or_all_wrong_have_a_wide_interval(pairs, value):
    macro_f1 = metrics.compute_metrics(create_predictions(pairs))["macro_f1"]
    low, high = macro_f1["interval"]
    assert (macro_f1["value"], macro_f1["method"]) == (value, "Wilson")
    assert high - low > 0.3


def test_calibration_is_measured_before_and_after_the_temperature(many):
    figures = metrics.calibration_metrics(many.scaled(0.2))
    assert figures["ece"]["value"] > 0.15 > figures["ece_before_temperature"]["value"]
    low, high = figures["ece"]["interval"]
    assert low < figures["ece"]["value"] < high
    assert figures["ece_if_calibrated"]["value"] < 0.05


def test_an_auroc_and_a_rejection_rate_are_measured_for_unfamiliar_photos():
    familiar, unfamiliar = np.arange(20.0), np.array([10.5, 18.5, 30.0, 31.0])
    measured = metrics.ood_metrics(familiar, unfamiliar, threshold=18.0)
    assert measured["auroc"]["value"] == pytest.approx((11 + 19 + 20 + 20) / 80, abs=1e-4)
    assert measured["called_unknown"]["value"] == 0.75
    assert "called_unknown" not in metrics.ood_metrics(familiar, unfamiliar, None)


def test_the_family_with_the_lowest_coverage_comes_first():
    covered, truth = np.array([1, 1, 0, 1, 0, 0], bool), np.array([0, 0, 1, 1, 2, 2])
    coverage = metrics.coverage_by_family(covered, truth, ["Laridae", "Paridae", None])
    assert list(coverage) == ["Paridae", "Laridae"]
    assert coverage["Paridae"]["value"] == 0.5


def test_each_class_has_its_own_precision_recall_and_f1():
    predictions = create_predictions("cc cc cj jj jj jw")
    classes = per_class_metrics(predictions, pd.Series({"jay": 7})).set_index("label")
    assert classes["n"].to_dict() == {"crow": 3, "jay": 3, "wren": 0}
    assert classes["train_photos"].to_dict() == {"crow": 0, "jay": 7, "wren": 0}
    assert classes["correct"].tolist() == [2, 2, 0]
    assert classes["precision"].tolist() == pytest.approx([1, 2 / 3, 0])
    assert classes["recall"].tolist()[:2] == pytest.approx([2 / 3, 2 / 3])
    assert classes["f1"].tolist()[:2] == pytest.approx([4 / 5, 2 / 3])
    assert np.isnan(classes.loc["wren", "recall"])


def test_the_worst_classes_come_first_without_those_that_have_no_photo():
    classes = per_class_metrics(create_predictions("cc cc cj jj jj jw"))
    assert worst_classes(classes)["label"].tolist() == ["jay", "crow"]
    assert worst_classes(classes, 1)["label"].tolist() == ["jay"]


def test_accuracy_is_compared_between_rare_and_frequent_classes():
    train_photos, correct = [3, 5, 5, 9, 90, 100], [1, 4, 6, 8, 9, 10]
    classes = pd.DataFrame({"train_photos": train_photos, "n": 10, "correct": correct})
    groups = accuracy_by_train_photos(classes)
    assert groups["max_train_photos"].tolist() == [5, 9, 100]
    assert groups["accuracy"].tolist() == pytest.approx([11 / 30, 8 / 10, 19 / 20], abs=1e-4)
    assert groups["n"].sum() == 60


def test_classes_of_one_size_are_one_group():
    classes = pd.DataFrame({"train_photos": [25] * 9, "n": 3, "correct": 2})
    assert accuracy_by_train_photos(classes)["classes"].tolist() == [9]


def test_the_most_confused_pair_comes_first_in_the_direction_of_the_error():
    pairs = most_confused(create_predictions("cc cj cj jc wj"))
    assert pairs.to_numpy().tolist() == [["crow", "jay", 2], ["jay", "crow", 1], ["wren", "jay", 1]]
