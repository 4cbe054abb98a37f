"""Mistakes explained: confused pairs, planted field marks, facts, and accuracy by properties."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from birds import drawn
from export.exporter import export_model
from fieldmark.data.datasets import list_photos
from fieldmark.data.splits import split_photos
from fieldmark.data.subclasses import list_classes
from fieldmark.errors import DatasetError
from fieldmark.evaluation.predictions import Predictions
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.mistakes.accuracy_by import compute_accuracy_by
from fieldmark.explain.mistakes.accuracy_plot import plot_accuracy_by
from fieldmark.explain.mistakes.explanation import describe_side, explain_pair, list_field_marks
from fieldmark.explain.mistakes.facts import load_facts
from fieldmark.explain.mistakes.field_marks import count_flips, occlude
from fieldmark.explain.mistakes.frame_size import (
    FOUND,
    MIDDLE,
    list_served_sizes,
    measure_frame_sizes,
)
from fieldmark.explain.mistakes.pair_photos import choose_pair_photos
from fieldmark.explain.mistakes.pair_plot import plot_pair
from fieldmark.explain.mistakes.pairs import (
    describe_pair,
    rank_confused_pairs,
    rank_pairs_before_training,
)
from fieldmark.explain.mistakes.patches import Patch, cover, list_patches
from fieldmark.explain.mistakes.positions import average_turned, describe_positions
from fieldmark.explain.mistakes.properties import collect_facts, list_subclasses, measure_pixels
from fieldmark.plotting import save_figure
from tests.conftest import FACTS, create_network

SIZE = 96


def create_predictions(probability: list[list[float]], truth: list[int]) -> Predictions:
    labels = [f"species {number}" for number in range(len(probability[0]))]
    paths = [f"{number}.jpg" for number in range(len(truth))]
    return Predictions(labels, paths, np.array(truth), np.log(np.array(probability)))


def overlap(first: Patch, second: Patch) -> float:
    """Return the intersection of two patches over their union."""
    masks = np.zeros((2, SIZE, SIZE), bool)
    masks[0][first.box], masks[1][second.box] = True, True
    return masks.all(0).sum() / masks.any(0).sum()


def test_pairs_are_ranked_by_the_probability_of_the_other_species():
    predictions = create_predictions(
        [[0.5, 0.1, 0.4], [0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.6, 0.1, 0.3]], [0, 0, 1, 2]
    )
    pairs = rank_confused_pairs(predictions, 2)
    assert pairs["label"].tolist() == ["species 0", "species 0"]
    assert pairs["other"].tolist() == ["species 2", "species 1"]
    np.testing.assert_allclose(pairs["mass"], [0.4 + 0.05 + 0.6, 0.1 + 0.05 + 0.2])
    assert pairs[["label_as_other", "other_as_label"]].to_numpy().tolist() == [[0, 1], [0, 0]]
    assert pairs[["n_label", "n_other"]].to_numpy().tolist() == [[2, 1], [2, 1]]
    assert "1 of 3" in describe_pair(pairs.loc[0])


def test_pairs_without_a_wrong_answer_are_those_nearest_to_being_confused():
    right = create_predictions([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]], [0, 1, 2])
    pairs = rank_confused_pairs(right, 10)
    assert pairs["other"].tolist() == ["species 2", "species 1", "species 2"]
    assert pairs["mass"].tolist() == [0.25, 0.2, 0.15]
    tied = create_predictions([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], [0, 1, 2])
    assert rank_confused_pairs(tied, 2)["other"].tolist() == ["species 1", "species 2"]
    assert "0 of 2" in describe_pair(rank_confused_pairs(tied, 1).loc[0])


def test_pairs_before_training_are_kept_apart_and_count_all_photos():
    errors = pd.DataFrame(
        {
            "label": ["B (male)", "A", "B (female)", "C", "B (male)", "C"],
            "suggested": ["A", "B (male)", "C", "A", "B (female)", "B (male)"],
            "self_confidence": [0.2, 0.6, 0.9, 0.5, 0.5, np.nan],
            "suggested_probability": [0.7, 0.3, 0.05, 0.4, 0.5, np.nan],
        }
    )
    pairs = rank_pairs_before_training(errors)
    assert pairs[["label", "other"]].agg("".join, axis=1).tolist() == ["AB", "AC", "BC"]
    assert pairs["mass"].tolist() == [1.0, 0.4, 0.05]
    assert pairs["wrong"].tolist() == [1, 0, 0]
    assert pairs["n"].tolist() == [4, 2, 4]


@pytest.mark.parametrize("seed", range(3))
def test_the_patch_that_flips_is_the_planted_region(seed):
    """The logits depend on the pixels of one rectangle only: patches that miss it do nothing."""
    rng = np.random.default_rng(seed)
    left, top = (int(place) for place in rng.integers(0, SIZE - SIZE // 4, 2))
    planted = Patch(left, top, SIZE // 4)
    photos = rng.integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    signal = photos[:, *planted.box].astype(float)

    def compute(pixels):
        best = [np.abs(pixels[:, *planted.box] - each).mean((1, 2, 3)) for each in signal]
        changed = np.min(best, 0)
        return np.stack([np.full(len(pixels), 10.0), changed, np.full(len(pixels), -9.0)], 1)

    found = occlude(compute, photos, 0, 1)
    patches = list_patches(SIZE)
    smallest = [patch for patch in patches if patch.side == patches[0].side]
    best = max(overlap(patch, planted) for patch in smallest)
    for row in range(len(photos)):
        patch = found.find_patch(row)
        assert patch.side == smallest[0].side
        assert overlap(patch, planted) > 0.75 * best
        assert overlap(patch, planted) > 0.35
        lost = found.map_lost_lead(row)
        assert lost[planted.box].mean() > 2 * lost.mean()
    misses = np.array([overlap(patch, planted) == 0 for patch in patches])
    assert misses.any()
    np.testing.assert_allclose(found.drop[:, misses], 0)
    assert not found.flips[:, misses].any()
    assert found.confirmed.all()


def test_the_field_mark_of_drawn_birds_is_where_it_was_drawn(monkeypatch):
    """The logits count red pixels, as a network that knows the ruby cap would."""
    name = "Ruby_capped_Inkling"
    photos = np.stack([drawn.draw_bird(name, seed, SIZE, SIZE) for seed in range(4)])
    bare = drawn.SPECIES[name]._replace(cap=None)
    monkeypatch.setitem(drawn.SPECIES, name, bare)
    without = np.stack([drawn.draw_bird(name, seed, SIZE, SIZE) for seed in range(4)])
    caps = (photos != without).any(3)

    def compute(pixels):
        red = (pixels[..., 0].astype(int) - pixels[..., 1] > 100).sum((1, 2))
        return np.stack([red, np.full(len(pixels), 0.5 * caps.sum((1, 2)).min())], 1)

    found = occlude(compute, photos, 0, 1)
    for row, cap in enumerate(caps):
        patch = found.find_patch(row)
        assert cap[patch.box].sum() > 0.5 * cap.sum()
        assert found.map_lost_lead(row)[cap].mean() > 3 * found.map_lost_lead(row)[~cap].mean()
    counts = count_flips(found)
    assert counts["flipped"].iloc[-1] == len(photos)
    assert counts["flipped"].is_monotonic_increasing
    upper = [(found.find_patch(row), None) for row in range(len(photos))]
    assert "upper third" in describe_positions(upper, SIZE)


def test_patches_reach_every_pixel_and_cover_only_their_own():
    patches = list_patches(50)
    reached = np.zeros((50, 50), bool)
    for patch in patches:
        reached[patch.box] = True
    assert reached.all()
    photo = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    (covered,) = cover(photo, [Patch(5, 10, 20)], "its mean colour")
    changed = (covered != photo).any(2)
    assert not changed[:10].any()
    assert not changed[:, 25:].any()
    assert (covered[10:30, 5:25] == photo.mean((0, 1)).round()).all()


def test_left_and_right_are_described_only_where_beaks_are_known():
    head_left, head_right = Patch(0, 0, 20), Patch(SIZE - 20, 0, 20)
    found = [(head_left, "left"), (head_right, "right")]
    assert "That of 2 lies in the beak's third" in describe_positions(found, SIZE)
    assert "beak" not in describe_positions([(head_left, None), (head_right, "right")], SIZE)
    apart = [(Patch(0, top, 20), None) for top in (0, 40, 76)]
    assert "different heights" in describe_positions(apart, SIZE)
    maps = [np.eye(2)[:, ::-1], np.eye(2)]
    np.testing.assert_array_equal(average_turned(maps, ["left", "right"]), np.eye(2))
    np.testing.assert_array_equal(average_turned(maps, ["left", None]), np.full((2, 2), 0.5))


def test_a_trend_is_tested_as_cochran_and_armitage_did():
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(4), 25)
    correct = rng.random(100) < 0.5 + 0.12 * number
    facts = pd.DataFrame({"size": number, "noise": rng.random(100)})
    found = compute_accuracy_by(correct, facts)
    mean = correct.mean()
    statistic = ((number - number.mean()) * correct).sum()
    variance = mean * (1 - mean) * ((number - number.mean()) ** 2).sum()
    p = 2 * norm.sf(abs(statistic) / np.sqrt(variance))
    size, noise = found.trends["p"]
    assert size == pytest.approx(p, rel=0.1)
    assert found.trends["p_holm"].tolist() == pytest.approx([2 * size, noise])
    quarters = found.rows[found.rows["property"] == "size"]
    assert quarters["n"].tolist() == [25] * 4
    assert quarters["correct"].tolist() == [correct[number == each].sum() for each in range(4)]


def test_values_of_few_photos_are_grouped_and_missing_ones_are_left_out():
    facts = pd.DataFrame({"pose": ["perched"] * 12 + ["flying"] * 6 + ["diving", "asleep"]})
    facts = pd.concat([facts, pd.DataFrame({"pose": [None] * 3})]).assign(constant=1.0)
    found = compute_accuracy_by(np.ones(23, bool), facts)
    assert found.rows["value"].tolist() == ["perched", "flying", "2 other values"]
    assert found.rows["n"].tolist() == [12, 6, 2]
    assert found.rows["low"].iloc[0] < 1  # although all are right
    assert found.trends.empty
    notes = "\n".join(found.notes)
    assert "3 of 23" in notes
    assert "constant" in notes


def test_facts_belong_to_photos_of_the_run(tmp_path):
    paths, file = pd.Series(["a.jpg", "b.jpg", "c.jpg"]), tmp_path / "facts.csv"
    file.write_text("pose,path\nflying,c.jpg\nperched,a.jpg\n")
    facts = load_facts(file, paths)
    assert facts["pose"].tolist()[::2] == ["perched", "flying"]
    assert facts["pose"].isna().tolist() == [False, True, False]
    wrong = {
        "photo,pose\na.jpg,flying\n": "column `path`",
        "path,pose\nd.jpg,flying\n": "d.jpg",
        "path,pose\na.jpg,flying\na.jpg,perched\n": "twice",
        "": "read as a table",
    }
    for text, message in wrong.items():
        file.write_text(text)
        with pytest.raises(DatasetError, match=message):
            load_facts(file, paths)
    with pytest.raises(DatasetError, match="does not exist"):
        load_facts(tmp_path / "missing.csv", paths)


def test_subclasses_are_counted_over_species_and_sharpness_is_lost_by_blur(explained):
    held_out = explained.held_out
    assert list_subclasses(held_out).columns.empty
    names = [f"{label} (male)" for label in held_out.table["label"]]
    names[0] = held_out.table["label"][0]
    plumages = list_subclasses(replace(held_out, subclass=np.array(names, object)))
    assert plumages["sub-class"].tolist()[1:] == ["male"] * (len(held_out) - 1)
    assert plumages["sub-class"].isna().tolist() == [True] + [False] * (len(held_out) - 1)
    photo = drawn.draw_bird("Rusty_Inkling", 0, SIZE, SIZE)
    dark = (photo * 0.5).astype(np.uint8)
    blurred = cover(photo, [Patch(0, 0, SIZE)], "the blurred photo")[0]
    assert measure_pixels(dark)[0] == pytest.approx(measure_pixels(photo)[0] / 2, rel=0.02)
    assert measure_pixels(dark)[1] == pytest.approx(measure_pixels(photo)[1] / 2, rel=0.02)
    assert measure_pixels(blurred)[2] < 0.1 * measure_pixels(photo)[2]


def test_a_pair_of_drawn_birds_is_explained(explained, tmp_path):
    sides = explain_pair(explained, explained.labels[:2], count=3)
    for side in sides:
        label, other = side.photos.label, side.photos.other
        photos = choose_pair_photos(explained, label, other, confused=3)
        maps = [photos.compute_evidence(label) for label in (photos.label, photos.other)]
        difference = (maps[0] - maps[1]).mean((1, 2))
        logits = photos.confused.logits
        constant = logits[:, photos.label] - logits[:, photos.other] - difference
        own = explained.predictions.select(photos.typical.paths)
        assert (own.truth == photos.label).all()
        margins = side.occlusions.margin * explained.predictions.temperature
        expected = explained.predictions.select(side.paths).logits
        np.testing.assert_allclose(
            margins, expected[:, photos.label] - expected[:, photos.other], atol=1e-3
        )
        np.testing.assert_allclose(constant, constant[0], atol=1e-4)
        assert side.name in describe_side(side)
    assert (
        explained.predictions.select(sides[0].paths).splits[: sides[0].held_out] != "train"
    ).all()
    save_figure(plot_pair(sides), tmp_path, "pair")
    assert set(list_field_marks(sides)["label"]) <= set(explained.labels[:2])


@pytest.fixture(scope="module")
def plumage_run(folder, weights, tmp_path_factory):
    """Export an untrained network of two species, one in two plumages; return an ExplainedRun."""
    folders = {"Night_Inkling (male)": "Night_Inkling", "Night_Inkling (female)": "Rusty_Inkling"}
    photos = tmp_path_factory.mktemp("plumages")
    for name, source in {**folders, "Green_Inkling": "Green_Inkling"}.items():
        shutil.copytree(folder / source, photos / name)
    table = split_photos(list_photos(photos), 0.2, 0.4, seed=1)
    network = create_network(weights, labels=list_classes(table))
    out = tmp_path_factory.mktemp("plumage-run")
    export_model(network, table, photos, FACTS, out, UncertaintyOptions(ood_score="msp"))
    return ExplainedRun.load(out, str(photos))


def test_species_with_subclasses_and_hardly_a_right_answer_are_explained(plumage_run, tmp_path):
    pairs = rank_confused_pairs(plumage_run.held_out, 4)
    assert pairs["other"].tolist() == ["Night Inkling"]
    assert pairs["label_as_other"].sum() + pairs["other_as_label"].sum() > 0
    facing = np.resize(["left", "right"], len(plumage_run.photos))
    facts = pd.DataFrame({"facing": facing})
    sides = explain_pair(plumage_run, plumage_run.labels, facts, count=2)
    for side in sides:
        assert side.name in describe_side(side)
        rows = [plumage_run.predictions.paths.index(path) for path in side.paths]
        assert side.faces == facing[rows].tolist()
    save_figure(plot_pair(sides), tmp_path, "pair")
    list_field_marks(sides)
    known = compute_accuracy_by(plumage_run.held_out.correct, collect_facts(plumage_run, facts))
    rows = known.rows.set_index(["property", "value"])["n"]
    assert rows["sub-class"].sum() == (plumage_run.held_out.truth == 1).sum()
    assert set(rows["sub-class"].index) == {"male", "female"}
    assert set(rows["facing"].index) == {"left", "right"}


def test_accuracy_by_size_uses_the_finder_where_there_is_one(
    explained, finder_file, monkeypatch, tmp_path
):
    middle = measure_frame_sizes(explained, photos=4, shares=(0.5,))
    assert middle["look"].tolist() == [MIDDLE]
    monkeypatch.setenv("FIELDMARK_FINDER", str(finder_file))
    sizes = measure_frame_sizes(explained, photos=4, shares=(1.0, 0.5))
    assert sizes["look"].tolist() == [MIDDLE, FOUND] * 2
    assert (sizes["n"] == 4).all()
    pd.testing.assert_frame_equal(sizes[2:3].reset_index(drop=True), middle)
    figures = {"accuracy": {"value": 0.9, "interval": [0.8, 0.95], "n": 50}}
    served = list_served_sizes({"field": {"by_share": {"0.2 to 0.35": figures}}})
    assert served["correct"].tolist() == [45]
    assert list_served_sizes({}).empty
    found = compute_accuracy_by(explained.held_out.correct, collect_facts(explained))
    figure = plot_accuracy_by(found, pd.concat([sizes, served]), 0.9)
    save_figure(figure, tmp_path, "accuracy_by")
