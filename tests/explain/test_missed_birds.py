"""Photos in which the finder misses the bird, or changes the answer."""

import numpy as np
import pytest

from birds.crops import Box, Crop
from fieldmark.evaluation.proposals import Proposals
from fieldmark.explain.photos import missed_birds


@pytest.fixture
def searched(explained, finder_file, monkeypatch):
    """Return the proposals of the session's finder for some photos of the run."""
    monkeypatch.setenv("FIELDMARK_FINDER", str(finder_file))
    return missed_birds.search_run(explained, max_photos=30)


def test_held_out_photos_are_searched_and_a_sample_of_the_others(explained, searched):
    held_out = explained.photos["path"][explained.photos["split"] != "train"]
    assert set(held_out) <= set(searched.photos["path"])
    assert len(searched) == 30
    table = missed_birds.tabulate_missed(explained, searched)
    assert len(table) == 30
    assert (table["fault"].eq("no box") == table["score"].isna()).all()
    assert missed_birds.show_missed(table, explained.folder)


def test_faults_are_those_of_the_first_crop(explained):
    """Of three right and one wrong answers, the crops of two others are shown instead."""
    logits = explained.predictions.logits.copy()
    rows = np.arange(4)
    truth = explained.predictions.truth[rows]
    logits[rows] = 10 * np.eye(6)[truth]
    logits[3] = 10 * np.eye(6)[(truth[3] + 1) % 6]  # the whole photo is wrong
    crops = explained.predictions.select(rows)
    wrong = 10 * np.eye(6)[(truth + 1) % 6]
    right = 10 * np.eye(6)[truth]
    object.__setattr__(crops, "logits", np.stack([right[0], wrong[1], right[2], right[3]]))
    whole = explained.predictions.select(np.arange(len(logits)))
    object.__setattr__(whole, "logits", logits)
    box = Box(1, 2, 30, 40, 0.9)
    squares = [Crop(0, 0, 64, 64, "center"), *[Crop(1, 2, 44, 44, "finder", box)] * 3]
    photos = explained.photos.iloc[rows].assign(split="calibration")
    proposals = Proposals(photos, crops, squares, np.ones(4, int))
    planted = type(explained)(
        explained.run, explained.network, explained.folder, explained.photos, whole
    )
    table = missed_birds.tabulate_missed(planted, proposals).set_index("path")
    faults = table.loc[photos["path"], "fault"].tolist()
    assert faults == ["no box", "crop spoils", "", "crop mends"]
    assert table.iloc[0]["fault"] == "no box"
    sentence = missed_birds.describe_missed(table.reset_index())
    assert "crop spoils: 1 of 4 calibration photos, 25.0 %" in sentence


def test_without_a_finder_there_is_a_sentence(explained):
    table, sentence = missed_birds.find_missed(explained)
    assert table.empty
    assert "FIELDMARK_FINDER" in sentence
    missed_birds.show_missed(table, explained.folder)


def test_photos_that_were_cropped_before_training_are_not_searched(explained, monkeypatch):
    monkeypatch.setitem(explained.run.card["recipe"], "crop", "auto")
    table, sentence = missed_birds.find_missed(explained)
    assert table.empty
    assert "crops.csv" in sentence
