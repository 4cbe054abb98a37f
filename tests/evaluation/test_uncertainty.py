"""Probabilities mean what they say, lists hold what they should, and strangers are told apart."""

import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax

from birds.classifier import Classifier, Outputs
from birds.prediction_set import prediction_set
from export import model_file
from export.exporter import publish
from export.graph import Graph
from export.look import Look, look
from fieldmark.data import datasets as sources
from fieldmark.data import locations as photos
from fieldmark.data import splits as parts
from fieldmark.data.ood_photos import list_ood_photos
from fieldmark.errors import DatasetError
from fieldmark.evaluation import calibration, conformal, measure
from fieldmark.evaluation import ood as unknown
from fieldmark.evaluation.open_set import promises, rehearsal
from fieldmark.evaluation.uncertainty import Promises
from tests.conftest import FACTS, SIZE


@pytest.fixture
def guesses():
    """Return logits and labels of 20,000 photos whose probabilities are true at temperature 1."""
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(20_000, 5)) * 2
    sums = softmax(logits, axis=1).cumsum(1)
    return logits, (chance.random((20_000, 1)) > sums).sum(1).clip(0, 4)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_answers_too_sure_or_too_meek(guesses, factor):
    logits, truth = guesses
    assert calibration.temperature(factor * logits, truth) == pytest.approx(factor, rel=0.03)


def test_a_few_photos_that_are_all_right_do_not_make_it_certain():
    logits = np.array([[2.0, 0.0, 0.0]] * 6)
    assert calibration.temperature(logits, np.zeros(6, int)) > 0.2


def test_the_calibration_error_is_that_of_known_answers(guesses):
    """Six photos 75 % sure of which three are right, two 95 % sure and right."""
    sure, right = np.array([0.75] * 6 + [0.95] * 2), np.array([1, 1, 1, 0, 0, 0, 1, 1], bool)
    assert calibration.expected_error(sure, right) == pytest.approx((6 * 0.25 + 2 * 0.05) / 8)
    table = calibration.reliability(sure, right)
    assert table["n"].tolist() == [6, 2]
    assert table["right"].tolist() == [0.5, 1.0]
    logits, truth = guesses
    true, bold = softmax(logits, axis=1), softmax(3 * logits, axis=1)
    errors = [calibration.expected_error(p.max(1), p.argmax(1) == truth) for p in (true, bold)]
    assert errors[0] < 0.02 < 0.1 < errors[1]


def test_a_quantile_of_the_future_takes_enough_of_the_past():
    assert conformal.quantile(np.arange(19.0), 0.95) == 18
    assert conformal.quantile(np.arange(39.0), 0.95) == 37.5  # between the 38th and the next
    assert conformal.quantile(np.arange(18.0), 0.95) is None


@pytest.mark.parametrize("method", ["lac", "raps"])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_lists_hold_the_truth_as_often_as_they_promise(guesses, method, level):
    probability, truth = softmax(guesses[0], axis=1), guesses[1]
    rule = conformal.rule(probability[:10_000], truth[:10_000], level, method)
    held, _ = conformal.lists(probability[10_000:], truth[10_000:], rule)
    assert level - 0.01 < held.mean()


@pytest.mark.parametrize("method", ["lac", "raps"])
def test_lists_are_those_of_the_function(guesses, method):
    probability, truth = softmax(guesses[0][:300], axis=1), guesses[1][:300]
    rule = conformal.rule(probability, truth, 0.9, method)
    held, size = conformal.lists(probability, truth, rule)
    served = [prediction_set(row, rule) for row in probability]
    assert size.tolist() == [len(each) for each in served]
    assert held.tolist() == [label in each for label, each in zip(truth, served, strict=True)]


def test_the_shorter_lists_are_chosen():
    compared = {"lac": {"size": 1.2}, "raps": {"size": 1.1}}
    assert conformal.choose(compared) == "raps"
    assert conformal.choose({"lac": {"size": 1.1}, "raps": {"size": 1.1}}) == "lac"
    assert conformal.choose(None) == "lac"


def outputs(probability, strangeness):
    return Outputs(probability, strangeness, None, None)


def test_nobody_judges_itself(guesses):
    """With labels at random the thresholds of the others hold as promised, not better."""
    probability, truth = softmax(guesses[0][:400], axis=1), guesses[1][:400]
    strange = np.random.default_rng(1).random(400)
    found = outputs(probability, strange)
    chosen, _ = measure.thresholds(found, truth, "energy", 0.9, 0.05)
    held, _, rejected = measure.crossed(found, truth, chosen)
    assert 0.85 < held.mean() < 0.96
    assert 0.02 < rejected.mean() < 0.08
    figures, _ = measure.metrics(found, truth, 1.0, chosen, [None] * 5)
    assert figures["known_called_unknown"]["value"] == pytest.approx(rejected.mean())
    low, high = figures["coverage"]["interval"]
    assert low < 0.9 < high


def test_coverage_is_told_by_family_the_worst_first():
    held, truth = np.array([1, 1, 0, 1, 0, 0], bool), np.array([0, 0, 1, 1, 2, 2])
    found = measure.by_family(held, truth, ["Laridae", "Paridae", None])
    assert list(found) == ["Paridae", "Laridae"]
    assert found["Paridae"]["value"] == 0.5


def test_the_area_under_the_curve_is_that_of_counted_pairs():
    assert unknown.area(np.array([0.0, 1.0]), np.array([0.5, 2.0])) == 0.75
    assert unknown.area(np.array([0.0, 1.0]), np.array([1.0])) == 0.75


@pytest.fixture
def taught():
    """Return what was made of three classes of photos, far apart, and their labels."""
    chance, truth = np.random.default_rng(0), np.repeat(np.arange(12), 20)
    embedding = 0.5 + 5 * np.eye(12)[truth] + 0.3 * chance.random((240, 12))
    logits = 4 * np.eye(12)[truth] + 0.3 * chance.normal(size=(240, 12))
    return Look(logits.astype(np.float32), embedding.astype(np.float32)), truth


@pytest.mark.parametrize("name", unknown.SCORES)
def test_every_score_finds_what_is_like_nothing_it_was_taught(name, taught):
    seen, truth = taught
    odd = Look(np.full((5, 12), 0.1, np.float32), np.full((5, 12), 9.0, np.float32))
    score = unknown.fit(seen, truth)[name]
    usual, strange = (unknown.score(score, each, 1.0) for each in (seen, odd))
    assert unknown.area(usual, strange) > 0.95


def test_the_distance_is_mahalanobis(taught):
    """By the definition, with scikit-learn's covariance."""
    from sklearn.covariance import LedoitWolf

    seen, truth = taught
    means = np.stack([seen.embedding[truth == label].mean(0) for label in range(12)])
    fitted = LedoitWolf(assume_centered=True).fit(seen.embedding - means[truth])
    odd = seen.embedding[:7] + np.linspace(0, 3, 7)[:, None]
    expected = np.min([fitted.mahalanobis(odd - mean) for mean in means], axis=0) / 12
    found = unknown.score(unknown.Mahalanobis(seen, truth), Look(seen.logits[:7], odd), 1.0)
    assert np.allclose(found, expected, rtol=0.02)


def test_the_best_score_is_chosen_and_without_strangers_the_usual_one():
    compared = {"energy": {"a": 0.7, "b": 0.9}, "mahalanobis": {"a": 0.85, "b": 0.8}}
    assert unknown.choose(compared, 100) == "mahalanobis"
    assert unknown.choose({"energy": {}}, 100) == "mean_logits"
    assert unknown.choose({"energy": {}}, 6) == "knn"


@pytest.mark.parametrize("name", unknown.SCORES)
def test_the_file_scores_as_the_learner_does(name, new_learner, table, folder, tmp_path):
    """The gate compares what the function says with the score of the Learner's own embedding."""
    learn = new_learner()
    card = publish(learn, table, folder, SIZE, FACTS, tmp_path, promised=Promises(score=name))
    assert card["gate"]["photos"] > 30
    file, paths = Classifier(tmp_path / "birds.onnx"), [folder / path for path in table["path"][:3]]
    served = measure.asked(file, paths)
    assert np.allclose(served.embedding, look(learn, paths).embedding, atol=1e-3)


def test_a_graph_with_another_score_is_caught(new_learner, table, folder, tmp_path, monkeypatch):
    from export import exporter as module
    from export.gate import GateError

    def forgetful(learn, temperature, score):
        return Graph(learn, temperature, unknown.Energy())

    monkeypatch.setattr(module, "Graph", forgetful)
    with pytest.raises(GateError):
        publish(new_learner(), table, folder, SIZE, FACTS, tmp_path, promised=Promises())


@pytest.fixture
def without_two(folder):
    """Return the split table of the drawn birds, two species of which are never taught."""
    known = parts.leave_out_species(sources.list_photos(folder), 0.3, seed=1)
    return parts.split_photos(known, 0.1, 0.5, seed=1)


def test_a_card_tells_what_was_compared_and_what_is_promised(
    new_learner, without_two, folder, tmp_path, settings, weights
):
    from fieldmark.data import loaders as data
    from tests.conftest import create_learner

    torch.manual_seed(0)
    dls = data.make_dataloaders(without_two, folder, **settings, batch_size=8)
    learn = create_learner(dls, weights)
    things = sorted(photos.draw_objects(tmp_path / "things", 20).iterdir())
    promised = Promises(level=0.9, rejected=0.1, strangers={"not_birds": things})
    card = publish(learn, without_two, folder, SIZE, FACTS, tmp_path / "run", promised=promised)
    assert set(card["unknown_compared"]) == set(unknown.SCORES)
    assert set(card["strangers"]) == {"not_birds", "unseen"}
    assert card["strangers"]["not_birds"]["called_unknown"]["n"] == 10  # the others chose
    chosen = card["thresholds"]
    assert chosen["shortlist"]["level"] == 0.9
    best = unknown.choose(card["unknown_compared"], 4)
    assert chosen["unknown"]["score"] == best
    assert card["metrics"]["ece"]["n"] == (without_two["split"] == "calibration").sum()
    found = rehearsal(str(tmp_path / "run"))
    assert (found["species"], found["score"], found["strangers"]) == (4, best, card["strangers"])
    proto, later = onnx.load(tmp_path / "run" / "birds.onnx"), tmp_path / "later"
    later.mkdir()
    facts = {"rehearsal": found, "name": "later", "strangers": {}}
    model_file.write(proto, card | facts, later / "birds.onnx")
    assert rehearsal(str(later)) == found


def test_too_few_photos_promise_nothing(run):
    thresholds = Classifier(run / "birds.onnx").card["thresholds"]
    assert thresholds == {"shortlist": None, "unknown": None}


def test_a_recipe_says_what_is_promised(tmp_path):
    things = str(photos.draw_objects(tmp_path, 20))
    recipe = {
        "coverage": 0.8,
        "known_rejection_rate": 0.1,
        "ood_score": "auto",
        "not_birds": things,
    }
    found = promises(recipe, {"score": "energy"})
    assert (found.level, found.rejected, found.score) == (0.8, 0.1, "energy")
    assert len(found.strangers["not_birds"]) == 20
    assert promises(recipe | {"ood_score": "msp"}, {"score": "energy"}).score == "msp"
    assert promises({}) == Promises()


def test_strangers_that_are_not_in_place_are_told(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match="FIELDMARK_NOT_BIRDS"):
        list_ood_photos(str(tmp_path / "nowhere"))
    monkeypatch.setenv("FIELDMARK_NOT_BIRDS", str(photos.draw_objects(tmp_path, 20)))
    assert len(list_ood_photos("")["not_birds"]) == 20


def test_a_rehearsal_that_was_not_run_is_told(tmp_path, run):
    assert rehearsal("") is None
    with pytest.raises(DatasetError, match="Run its recipe first"):
        rehearsal(str(tmp_path))
    with pytest.raises(DatasetError, match="unseen_share"):
        rehearsal(str(run))
