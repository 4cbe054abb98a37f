"""Crops that a finder proposes, the choice among them, and thresholds of photos in versions."""

import numpy as np
import pandas as pd
import pytest

from birds.classifier import Classifier
from birds.crops import Crop
from birds.finder import Finder
from birds.identifier import Identifier
from fieldmark.evaluation import conformal
from fieldmark.evaluation.guarantees import measure_uncertainty
from fieldmark.evaluation.ood import MaximumSoftmax, compare_scores, score_proposals
from fieldmark.evaluation.predictions import Predictions
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.proposals import Proposals
from fieldmark.evaluation.search import search_photos
from fieldmark.evaluation.thresholds import apply_thresholds, cross_fit, set_thresholds
from fieldmark.network.network import Network
from tests.birds.photos import encode_png
from tests.finders import draw_scene

THRESHOLDS = {"shortlist": None, "unknown": {"rejected": 0.1, "threshold": 0.5}}


def create_proposals(scores: list[list[float]], **columns) -> Proposals:
    """Return proposals with the unknown scores of each photo's crops, all of label 0."""
    counts = np.array([len(each) for each in scores])
    paths = [f"{number}.jpg" for number in range(len(scores))]
    photos = pd.DataFrame({"path": paths, "label": "0", "split": "calibration"}).assign(**columns)
    m = counts.sum()
    crops = Predictions(
        labels=["0", "1"],
        paths=list(np.repeat(paths, counts)),
        truth=np.zeros(m, int),
        logits=np.stack([np.arange(m), np.zeros(m)], 1),
        splits=np.full(m, "calibration"),
        ood_score=np.concatenate(scores),
    )
    squares = [Crop(row, 0, 9, 9, "finder") for row in range(m)]
    return Proposals(photos, crops, squares, counts)


def test_the_choice_among_crops_is_the_functions():
    """The first crop if it is familiar enough, else the most familiar one."""
    proposals = create_proposals([[0.4, 0.1], [0.6, 0.9, 0.2], [0.7], [0.8, 0.9]])
    assert proposals.choose_rows(0.5).tolist() == [0, 4, 5, 6]
    assert proposals.choose_rows(None).tolist() == [0, 2, 5, 6]
    assert proposals.lowest_score.tolist() == [0.1, 0.2, 0.7, 0.8]
    applied = apply_thresholds(proposals, THRESHOLDS)
    assert applied.rejected.tolist() == [False, False, True, True]
    assert (applied.rejected == (proposals.lowest_score > 0.5)).all()
    some = proposals.select(np.array([False, True, False, True]))
    assert (some.starts.tolist(), some.crops.paths[0]) == ([0, 3], "1.jpg")
    assert some.squares[-1] == proposals.squares[-1]


def test_a_photo_is_rejected_as_often_as_allowed_although_all_its_crops_are_searched():
    rng = np.random.default_rng(0)
    photos = [list(rng.random(4)) for _ in range(2000)]
    thresholds = set_thresholds(create_proposals(photos[:1000]), "lac", 0.9, 0.1)
    applied = apply_thresholds(create_proposals(photos[1000:]), thresholds)
    assert applied.rejected.mean() == pytest.approx(0.1, abs=0.03)


def test_versions_of_a_photo_count_by_weight_and_their_number_gives_no_guarantee():
    scores = np.array([1.0, 5, 6, 2, 7, 8, 3, 9, 10])  # of three photos, as they are and pasted
    weight = np.tile([0.5, 0.25, 0.25], 3)
    assert conformal.conformal_quantile(scores, 0.37, weight) == 4  # 1.48 of 4
    assert conformal.conformal_quantile(scores, 0.8, weight) is None
    assert conformal.conformal_quantile(scores, 0.8) == 9.5


def test_thresholds_are_cross_fitted_without_other_versions_of_a_photo():
    """Each photo has two versions with one score, which differs from those of other photos."""
    scores = np.repeat(np.random.default_rng(0).permutation(100) / 100, 2)
    columns = {"original": np.repeat(np.arange(100), 2).astype(str), "weight": 0.5}
    proposals = create_proposals([[score] for score in scores], **columns)
    thresholds = set_thresholds(proposals, "lac", 0.9, 0.1)
    applied = cross_fit(proposals, thresholds)
    assert (applied.rejected[::2] == applied.rejected[1::2]).all()
    assert applied.chosen.paths == list(proposals.photos["path"])


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_photos_than_folds_are_cross_fitted(count):
    proposals = create_proposals([[0.6, 0.2]] * count)
    applied = cross_fit(proposals, THRESHOLDS)
    assert applied.chosen.paths == list(proposals.photos["path"])
    assert not applied.rejected.any()  # too few for a threshold
    nothing = proposals.select(np.zeros(count, bool))
    assert len(nothing.choose_rows(0.5)) == len(nothing.lowest_score) == 0


def test_pasted_photos_are_measured_apart_by_share():
    share = np.tile([np.nan, 0.25, 0.5, 0.8], 25)
    scores = np.where(share < 0.3, 0.9, 0.1) + np.arange(100) / 1000
    proposals = create_proposals([[score] for score in scores], share=share)
    measured = measure_uncertainty(proposals, THRESHOLDS, [None, None])
    assert measured["metrics"]["accuracy"]["n"] == 25
    assert measured["field"]["accuracy"]["n"] == 75
    by_share = measured["field"]["by_share"]
    assert list(by_share) == ["0.2 to 0.35", "0.35 to 0.55", "0.55 to 0.9"]
    rates = [figures["known_rejection_rate"]["value"] for figures in by_share.values()]
    assert rates[0] > 0.2 > rates[1] == rates[2] == 0
    assert by_share["0.55 to 0.9"]["accuracy_of_answered"]["value"] > 0.9


def test_a_score_is_compared_by_the_most_familiar_crop_of_a_photo():
    familiar = create_proposals([[0.9, 0.1], [0.8, 0.2]])
    familiar.crops.splits[:] = "valid"
    familiar.crops.logits[:] = [[0, 0], [9, 0], [0, 0], [9, 0]]
    other = create_proposals([[0.9]])
    other.crops.logits[:] = [[1, 0]]
    compared = compare_scores({"msp": MaximumSoftmax()}, familiar, {"other": other}, 1.0)
    assert compared["msp"]["other"] == 1.0


@pytest.fixture(scope="module")
def scenes():
    places = [
        [("Night_Inkling", 80, 240, 100), ("Ruby_capped_Inkling", 500, 60, 100)],
        [("Green_Inkling", 300, 100, 200)],
        [],
    ]
    return {f"{number}.png": encode_png(draw_scene(each)) for number, each in enumerate(places)}


@pytest.mark.parametrize("threshold", [-1.0, 2.0])
def test_the_search_looks_where_the_function_does(scenes, model, finder_file, threshold, run):
    """Crops and predictions, of the file and of the network, are those of an Identifier."""
    classifier, finder = Classifier(model, 1), Finder(finder_file, 1)
    identifier = Identifier(classifier, finder)
    identifier.threshold = threshold
    photos = pd.DataFrame({"path": list(scenes), "label": None, "split": "calibration"})
    by_file = search_photos(photos, scenes, finder, Predictor.of_file(classifier))
    by_network = search_photos(photos, scenes, finder, Predictor.of_network(Network.load(run)))
    by_network = score_proposals(MaximumSoftmax(), by_network, classifier.card["temperature"])
    assert by_file.found.tolist() == [True, True, False]
    for proposals in (by_file, by_network):
        chosen, rows = proposals.choose(threshold), proposals.choose_rows(threshold)
        for photo, data in enumerate(scenes.values()):
            look = identifier.identify(identifier.prepare(data)).chosen
            assert proposals.squares[rows[photo]] == look.crop
            expected = look.outputs.probability[look.index]
            assert np.allclose(chosen.probability[photo], expected, atol=1e-4)
            assert chosen.ood_score[photo] == pytest.approx(look.unknown, abs=1e-4)
