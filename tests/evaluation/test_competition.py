"""A submission has the paths, the order and the class names of the competition."""

import pandas as pd
import pytest

from birds import drawn
from fieldmark.data import datasets as sources
from fieldmark.errors import DatasetError
from fieldmark.evaluation import competition
from tests import trees


@pytest.fixture
def competition_data(tmp_path):
    """Return the table of a competition, the true labels by path, and its folder."""
    table = sources.list_photos(trees.make_competition(tmp_path / "birds", 2, 8))
    paths = table["path"][table["split"] == "unlabelled"]
    labels = [name.replace("_", " ") for name in drawn.SPECIES]
    return table, pd.Series([labels[n % 6] for n in range(8)], paths), tmp_path / "birds"


def test_each_unlabelled_photo_gets_its_class(competition_data, tmp_path):
    competition.write_submission(*competition_data, tmp_path / "sent.csv")
    sent = pd.read_csv(tmp_path / "sent.csv", dtype=str)
    assert list(sent.columns) == ["path", "class"]
    assert sent["path"].tolist() == [f"test/0/{n:02}.jpg" for n in range(8)]
    assert sent["class"].tolist() == list("01234501")


def test_a_sample_says_how_paths_are_written_and_in_which_order(competition_data, tmp_path):
    table, labels, folder = competition_data
    lines = [f"test/{n:02}.jpg,0" for n in range(7, -1, -1)]
    (folder / "labels.csv").write_text("path,class\ntrain/0/001.jpg,0\n")
    (folder / "sample.csv").write_text("\n".join(["path,class", *lines]))
    sent = competition.write_submission(table, labels, folder, tmp_path / "sent.csv")
    assert sent["path"].tolist() == [line.split(",")[0] for line in lines]
    assert sent["class"].tolist() == list("10543210")


def test_a_photo_without_an_answer_gets_the_commonest_class(competition_data, tmp_path):
    table, labels, folder = competition_data
    table.loc[table["class"] == "2", "class"] = "3"
    sent = competition.write_submission(
        table, labels.drop("test/0/00.jpg"), folder, tmp_path / "sent.csv"
    )
    assert sent["class"][0] == "3"


def test_a_label_that_the_competition_does_not_have_is_named(competition_data, tmp_path):
    table, labels, folder = competition_data
    with pytest.raises(DatasetError, match="Dodo"):
        competition.write_submission(
            table, labels.replace("Green Inkling", "Dodo"), folder, tmp_path / "x"
        )
