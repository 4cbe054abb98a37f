"""The map of birds: projections, mosaic, and which species overlap."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier

from fieldmark.explain.map import mosaic, projection, separation
from fieldmark.explain.map.neighbours import find_neighbours, to_unit_vectors, vote
from fieldmark.explain.map.separation_plot import plot_overlap
from fieldmark.explain.map.thumbnails import make_thumbnails


def draw_clusters(counts, dimensions=20, spread=0.05, seed=0):
    """Return unit vectors around random directions, and their labels."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(counts)), counts)
    centres = to_unit_vectors(rng.normal(size=(len(counts), dimensions)))
    return centres[truth] + spread * rng.normal(size=(len(truth), dimensions)), truth


def test_a_vote_is_that_of_the_nearest_others_outside_the_group():
    embeddings, truth = draw_clusters([20, 20, 20], spread=0.5)
    points, others = embeddings[::2], embeddings[1::2]
    expected = KNeighborsClassifier(1).fit(others, truth[1::2]).predict(points)
    np.testing.assert_array_equal(vote(find_neighbours(points, others, 1), truth[1::2]), expected)
    groups = np.arange(60) // 2  # pairs of near-duplicates
    rows = find_neighbours(embeddings, embeddings, 3, (groups, groups))
    distance = np.linalg.norm(embeddings[:, None] - embeddings, axis=-1)
    distance[groups[:, None] == groups] = np.inf
    np.testing.assert_array_equal(rows, distance.argsort(1)[:, :3])
    assert vote(np.array([[0, 1, 2], [1, 2, 0]]), np.array([2, 0, 1])).tolist() == [2, 0]
    assert vote(np.array([[-1, -1]]), np.array([0, 1])).tolist() == [-1]


@pytest.fixture(scope="module")
def points(explained):
    return projection.project(explained.predictions.embedding)


def test_projections_are_reproducible_and_measured_on_photos_held_out(explained, points):
    predictions = explained.predictions
    again = projection.project(predictions.embedding)
    for name in projection.METHODS:
        assert points[name].shape == (len(predictions), 2)
        np.testing.assert_array_equal(points[name], again[name])
    measured = projection.measure_projections(
        points, predictions.embedding, predictions.truth, predictions.splits
    ).set_index("map")
    full = measured.iloc[0]
    assert full["trustworthiness"] == pytest.approx(1)
    assert (measured["n"] == (predictions.splits == "calibration").sum()).all()
    difference = measured["accuracy"] - full["accuracy"]
    np.testing.assert_allclose(difference[1:], measured["difference"][1:], atol=1e-4)


def test_a_projection_that_loses_species_is_measured_as_such():
    embeddings, truth = draw_clusters([40, 40, 40])
    splits = np.where(np.arange(120) % 4 == 0, "calibration", "train")
    maps = projection.project(embeddings)
    maps["random"] = np.random.default_rng(1).normal(size=(120, 2))
    measured = projection.measure_projections(maps, embeddings, truth, splits).set_index("map")
    assert (measured["accuracy"].drop("random") == 1).all()
    assert measured.loc["random", "accuracy"] < 0.6
    assert measured.loc["random", "difference_high"] < 0
    assert measured.loc["random", "trustworthiness"] < 0.6 < measured.loc["UMAP", "trustworthiness"]


@pytest.mark.parametrize("n", [4, 10])
def test_few_photos_are_projected(n):
    embeddings = np.random.default_rng(0).normal(size=(n, 3))
    assert all(np.isfinite(points).all() for points in projection.project(embeddings).values())


def test_a_sample_of_a_large_run_holds_the_calibration_photos():
    splits = np.array(["train"] * 900 + ["calibration"] * 60)
    rows = projection.choose_rows(splits, 200)
    assert len(set(rows)) == 200
    assert (splits[rows] == "calibration").sum() == 60
    assert (splits[projection.choose_rows(splits, 100)] == "calibration").sum() == 50
    np.testing.assert_array_equal(projection.choose_rows(splits, 960), np.arange(960))


def test_a_mosaic_puts_each_photo_of_a_grid_into_its_cell():
    x, y = np.meshgrid(np.arange(5.0), np.arange(5.0))
    points = np.stack([x.ravel(), y.ravel()], -1)
    order = np.random.default_rng(0).permutation(25)
    grid = order[mosaic.arrange(points[order])]
    np.testing.assert_array_equal(grid, np.arange(25).reshape(5, 5)[::-1])
    thumbnails = np.arange(25, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 4, 4, 3), np.uint8
    )
    image = mosaic.build_mosaic(grid, thumbnails)
    np.testing.assert_array_equal(image[::4, ::4, 0], grid)


def test_neighbours_of_a_mosaic_are_more_similar_than_at_random(explained, points):
    embeddings = explained.predictions.embedding
    grid = mosaic.arrange(points["t-SNE"])
    assert grid.shape == (8, 8)
    measured = mosaic.measure_mosaic(grid, embeddings)
    assert measured["neighbours"]["interval"][0] > measured["random"]["interval"][1]
    vectors = to_unit_vectors(embeddings[grid.ravel()])
    pairs = (vectors @ vectors.T)[~np.eye(64, dtype=bool)]
    assert measured["random"]["value"] == pytest.approx(pairs.mean(), abs=0.01)
    thumbnails = make_thumbnails(explained, np.arange(len(embeddings)), 16)
    assert mosaic.plot_mosaic(grid, thumbnails, measured)


def test_species_that_share_a_place_overlap_and_the_others_are_isolated(explained):
    embeddings, truth = draw_clusters([30, 30, 30, 30])
    embeddings[truth == 3] = draw_clusters([30, 30, 30, 30], seed=0)[0][truth == 2]
    embeddings[truth == 3] += 0.01 * np.random.default_rng(2).normal(size=(30, 20))
    labels, photos = list("abcd"), explained.photos.iloc[[0] * 120]
    photos = photos.assign(path=np.arange(120).astype(str), group=None)
    votes = separation.vote_left_out(embeddings, truth, photos)
    table = separation.measure_overlap(votes, truth, labels, embeddings).set_index("label")
    assert table.loc[["a", "b"], "overlap"].tolist() == [0, 0]
    assert (table.loc[["c", "d"], "low"] > 0.2).all()
    assert table.loc["c", "other"] == "d"
    assert set(table.index[:2]) == {"a", "b"}
    (pair,) = separation.list_overlapping_pairs(votes, truth, labels).to_dict("records")
    assert (pair["first"], pair["second"], pair["n"]) == ("c", "d", 60)
    assert pair["photos"] == table["photos"].sum()
    assert table["silhouette"].mean() == pytest.approx(
        silhouette_score(to_unit_vectors(embeddings), truth)
    )
    assert spearmanr(table["overlap"], table["silhouette"])[0] < 0


def test_training_photos_lie_nearer_to_their_species_when_they_were_learned():
    embeddings, truth = draw_clusters([30, 30])
    splits = np.where(np.arange(60) % 3 == 0, "calibration", "train")
    embeddings[splits == "calibration"] += 0.2 * np.random.default_rng(3).normal(size=(20, 20))
    table = separation.compare_splits(embeddings, truth, splits).set_index("split")
    assert table.loc["train", "low"] > table.loc["calibration", "high"]
    assert table["n"].to_dict() == {"train": 40, "calibration": 20}


def test_overlap_of_a_run_is_drawn_even_if_no_species_overlaps(explained):
    predictions = explained.predictions
    held_out = separation.vote_held_out(
        predictions.embedding, predictions.truth, predictions.splits
    )
    assert ((held_out >= 0) == (predictions.splits == "calibration")).all()
    after = separation.measure_overlap(held_out, predictions.truth, explained.labels)
    perfect = separation.measure_overlap(predictions.truth, predictions.truth, explained.labels)
    assert (perfect["other"] == "").all()
    assert plot_overlap(explained, perfect, after)
    none = separation.list_overlapping_pairs(predictions.truth, predictions.truth, explained.labels)
    assert none.empty
