"""Which photos to take or to label next."""

import numpy as np
import pandas as pd
import pytest

from birds import drawn
from fieldmark.data.locations import draw_objects
from fieldmark.explain.photos.active_learning import (
    choose_typical,
    margin,
    simulate_labelling,
    typicality,
)
from fieldmark.explain.photos.learning_curves import LearningCurves
from fieldmark.explain.photos.next_photos import COLUMNS, rank_folder, rank_species


def draw_clusters(sizes, seed=0):
    """Return features around one axis for each cluster, and the cluster of each."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    spread = rng.uniform(0, 0.2, len(cluster))[:, None]
    return np.eye(8)[cluster] + spread * rng.normal(size=(len(cluster), 8)), cluster


def test_typical_photos_are_the_densest_of_the_largest_clusters_without_labels():
    features, cluster = draw_clusters([40, 30, 20])
    labelled = np.zeros(90, bool)
    labelled[cluster == 0] = np.arange(40) == 0
    chosen = choose_typical(features, labelled, 2)
    assert cluster[chosen].tolist() == [1, 2]
    members = features[cluster == 1]
    members = members / np.linalg.norm(members, axis=1, keepdims=True)
    distance = np.linalg.norm(members[:, None] - members[None], axis=2)
    nearest = np.sort(distance, 1)[:, 1:21].mean(1)
    np.testing.assert_allclose(typicality(members), 1 / (nearest + 1e-5), rtol=1e-5)
    assert chosen[0] == np.flatnonzero(cluster == 1)[nearest.argmin()]
    everything = choose_typical(features, labelled, 1000)
    assert sorted(everything) == np.flatnonzero(~labelled).tolist()


def test_the_margin_is_the_lead_of_the_first_label():
    probability = np.array([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(margin(probability), [0.2, 0.7])


def test_with_few_labels_typical_photos_teach_more_than_random_ones():
    features, truth = draw_clusters([60, 30, 15, 10, 8, 6])
    others, expected = draw_clusters([20] * 6, seed=1)
    arguments = (6,), (features, truth), (others, expected)
    typical, random = (
        np.mean([simulate_labelling((name,), *arguments, seed).mean() for seed in range(5)])
        for name in ("typical", "random")
    )
    assert typical > random + 0.1
    rounds = simulate_labelling(("random", "uncertain"), (6, 129), *arguments[1:])
    everything = simulate_labelling(("typical",), (129,), *arguments[1:])
    assert np.array_equal(rounds[1], everything[0])


def draw_curves(truth, correct, available):
    """Return curves with one point, of photos that have no near-duplicates."""
    rows = np.arange(len(truth))
    used = 0.8 * available[None]
    return LearningCurves(np.array([np.inf]), used, correct, rows, truth, rows, available)


def test_species_with_more_errors_get_more_of_the_gain_of_their_family():
    truth = np.repeat([0, 1], 20)
    correct = np.ones((1, 1, 40), bool)
    correct[0, 0, :10] = False
    curves = draw_curves(truth, correct, np.array([20, 20]))
    gains = pd.DataFrame({"group": ["A"], "accuracy": [0.75], "gain": [0.1]})
    table = rank_species(curves, ["x", "y"], {"A": np.array([0, 1])}, gains)
    assert table["species"].tolist() == ["x", "y"]
    errors = np.array([10 + 10 * 0.25, 10 * 0.25]) / 30
    np.testing.assert_allclose(table["gain"], 0.1 * errors / 0.25)
    assert table["gain"].mean() == pytest.approx(0.1)
    assert set(table["reason"]) == {"expected gain"}


def test_species_with_too_few_photos_come_first_and_have_no_figures():
    truth = np.repeat([0, 1, 3, 4], [20, 10, 5, 30])
    correct = np.ones((3, 1, 65), bool)
    correct[0, 0, :10] = False  # of 20 photos 16.7 are right on average: a whole number judges
    available = np.array([20, 10, 2, 5, 30])
    curves = draw_curves(truth, correct, available)
    gains = pd.DataFrame({"group": ["A"], "accuracy": [0.9], "gain": [0.1]})
    table = rank_species(curves, list("abcde"), {"A": np.array([0, 1, 2])}, gains)
    assert table["species"].tolist() == ["c", "d", "a", "b", "e"]
    assert table["reason"].tolist() == (
        ["too few photos to measure"] * 2 + ["expected gain"] * 2 + ["no measured gain"]
    )
    assert table["photos"].tolist() == [2, 5, 20, 10, 30]
    assert table["gain"].notna().tolist() == [False, False, True, True, False]
    assert table["accuracy"].dropna().to_dict() == {2: 0.85, 4: 1}
    assert table["low"].notna().tolist() == table["accuracy"].notna().tolist()
    nothing = rank_species(curves, list("abcde"), {}, gains.head(0))
    assert nothing["reason"].value_counts().to_dict() == {
        "too few photos to measure": 3,
        "no measured gain": 2,
    }


def test_a_folder_without_labels_is_ranked_uncertain_photos_first(explained, tmp_path):
    for seed, name in enumerate(drawn.SPECIES):
        file = tmp_path / f"{name}.png"
        file.write_bytes(drawn.encode_photo(drawn.draw_bird(name, 90 + seed), "PNG"))
    draw_objects(tmp_path / "things", 4)
    (tmp_path / "damaged.jpg").write_bytes(b"no photo")
    table, sentence = rank_folder(explained, str(tmp_path))
    assert list(table.columns) == COLUMNS
    assert table["rank"].tolist() == list(range(1, 11))
    assert set(table["strategy"]) == {"uncertain"}
    assert table["margin"].is_monotonic_increasing
    assert "10 most uncertain" in sentence
    assert rank_folder(explained, "")[0].empty
    assert "Set `unlabelled`" in rank_folder(explained, "nowhere")[1]


def test_with_few_labels_typical_photos_are_ranked_first(explained, folder, monkeypatch):
    monkeypatch.setattr("fieldmark.explain.photos.next_photos.SWITCH", 14)  # 12 have labels
    table, sentence = rank_folder(explained, str(folder))
    assert table["strategy"].tolist() == ["typical"] * 12 + ["uncertain"] * 60
    assert table["path"].is_unique
    assert "12 most typical then the 60 most uncertain" in sentence


def test_of_a_large_folder_a_sample_is_ranked(explained, folder, monkeypatch):
    monkeypatch.setattr("fieldmark.explain.photos.next_photos.MAX_PHOTOS", 9)
    table, sentence = rank_folder(explained, str(folder))
    assert table["path"].nunique() == 9
    assert "the 9 most uncertain of 9 (a sample of 9 of 72)" in sentence
    assert rank_folder(explained, str(folder))[0].equals(table)
    assert set(rank_folder(explained, str(folder), seed=1)[0]["path"]) != set(table["path"])
