"""Decisions about doubtful labels are read from a CSV and change the table of photos."""

import nbformat
import pandas as pd
import pytest

from fieldmark.data.datasets import list_photos
from fieldmark.data.label_decisions import (
    apply_decisions,
    copy_decisions,
    read_decisions,
    write_decisions,
)
from fieldmark.data.quality import remove_bad_photos
from fieldmark.data.survey import survey_photos
from fieldmark.errors import DatasetError
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from fieldmark.training.fit_recipe import load_split
from tests import trees
from tests.conftest import ROOT

HEADER = "path,decision,label,note\n"
WRONG, GONE = "Night_Inkling/002.jpg", "Night_Inkling/003.jpg"


@pytest.fixture
def birds(tmp_path):
    return trees.make_class_folders(tmp_path / "birds", 8)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        f'{HEADER}{WRONG},Relabel,Green_Inkling,"a cap, green"\n'
        f"{GONE},remove,,\nNight_Inkling/004.jpg,keep,,\nNight_Inkling/005.jpg,,Green Inkling,\n",
        encoding="utf-8-sig",
    )
    return path


def test_photos_are_relabelled_and_removed_as_decided_and_reported(birds, file):
    photos = list_photos(birds)
    decided, report = apply_decisions(photos, str(file))
    expected = photos.copy()
    expected.loc[expected["path"] == WRONG, "label"] = "Green Inkling"
    expected = expected[expected["path"] != GONE].reset_index(drop=True)
    pd.testing.assert_frame_equal(decided, expected)
    assert report.to_numpy().tolist() == [
        [
            WRONG,
            "labels.csv, line 2: a cap, green",
            "relabelled from Night Inkling to Green Inkling",
        ],
        [GONE, "labels.csv, line 3", "removed by decision"],
    ]
    same, nothing = apply_decisions(photos, "")
    assert same is photos
    assert list(nothing.columns) == ["path", "problem", "action"]
    assert nothing.empty


def test_decisions_survive_writing_and_reading(file, tmp_path):
    table = read_decisions(file)
    assert table["decision"].tolist() == ["relabel", "remove", "keep", ""]
    write_decisions(tmp_path / "copy.csv", table)
    pd.testing.assert_frame_equal(read_decisions(tmp_path / "copy.csv"), table)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Night_Inkling/2.jpg,keep,,", "line 2: `Night_Inkling/2.jpg` is not a photo"),
        ("Green_Inkling/002.jp,keep,,", "Did you mean .*Green_Inkling/002.jpg"),
        (f"{WRONG},relable,Green Inkling,", "line 2: `relable`.*Did you mean relabel"),
        (f"{WRONG},relabel,Gren Inkling,", "line 2: `Gren Inkling`.*Did you mean Green Inkling"),
        (f"{WRONG},relabel,,", "line 2: `` is not a species"),
        (f"{WRONG},keep,,\n{WRONG},remove,,", "line 3: .*otherwise in line 2"),
        (f"{WRONG},relabel,Green Inkling,\n{WRONG},relabel,Rusty Inkling,", "line 3: "),
        (f"{WRONG},keep,,green, large", "line 2: expected 4 fields"),
        (f"{WRONG},keep", "line 2: expected 4 fields"),
        ('"', "cannot be read.*UTF-8"),
    ],
    ids=lambda text: text[:40],
)
def test_a_wrong_line_is_reported_with_its_file_and_number(birds, tmp_path, line, message):
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}{line}\n")
    with pytest.raises(DatasetError, match=message) as caught:
        apply_decisions(list_photos(birds), str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_or_column_is_reported(birds, tmp_path):
    path = tmp_path / "labels.csv"
    with pytest.raises(DatasetError, match=r"labels\.csv"):
        apply_decisions(list_photos(birds), str(path))
    path.write_text(f"photo,decision\n{WRONG},keep\n")
    with pytest.raises(DatasetError, match=r"line 1: .*`path` and `label`"):
        apply_decisions(list_photos(birds), str(path))


def test_semicolons_of_a_spreadsheet_are_read(birds, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(f"path; decision; label\n{GONE}; remove;\n")
    decided, _ = apply_decisions(list_photos(birds), str(path))
    assert GONE not in set(decided["path"])


def test_a_photo_is_relabelled_to_a_sub_class_or_to_a_species_that_has_none(birds, tmp_path):
    path = tmp_path / "labels.csv"
    (birds / "Green_Inkling").rename(birds / "Green_Inkling_(male)")
    trees.write_birds(birds / "Green_Inkling_(female)", "Green_Inkling", range(20, 28))
    photos = list_photos(birds)
    path.write_text(
        f"{HEADER}{WRONG},relabel,Green Inkling (female),\n"
        "Green_Inkling_(male)/001.jpg,relabel,Rusty Inkling,\n"
    )
    decided, _ = apply_decisions(photos, str(path))
    rows = decided.set_index("path")[["label", "subclass"]]
    assert rows.loc[WRONG].tolist() == ["Green Inkling", "Green Inkling (female)"]
    assert rows.loc["Green_Inkling_(male)/001.jpg"].tolist() == ["Rusty Inkling"] * 2
    path.write_text(f"{HEADER}{WRONG},relabel,Green Inkling,\n")
    with pytest.raises(DatasetError, match=r"sub-classes.*\(female\)"):
        apply_decisions(photos, str(path))


def test_a_decision_within_a_species_begins_a_new_training(tmp_path):
    split = pd.DataFrame({"path": ["a"], "label": ["A"], "split": ["train"], "subclass": ["A (m)"]})
    first = Run(tmp_path).begin({}, split).identity
    assert Run(tmp_path).begin({}, split.assign(subclass="A (f)")).identity != first


@pytest.mark.parametrize("make", [trees.make_nabirds, trees.make_competition])
def test_what_follows_from_the_label_changes_with_it(make, tmp_path):
    photos = list_photos(make(tmp_path / "photos"))
    labelled = photos[photos["label"].notna()]
    first, last = labelled.iloc[0], labelled.iloc[-1]
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}{first['path']},relabel,{last['label']},\n")
    decided, _ = apply_decisions(photos, str(path))
    facts = [name for name in photos if name.startswith(("label", "class", "level_"))]
    assert len(facts) > 1
    assert decided.loc[0, facts].to_list() == last[facts].to_list()
    assert decided.loc[0, ["path", "split"]].to_list() == first[["path", "split"]].to_list()


def test_copies_whose_labels_a_decision_makes_equal_are_kept(birds, tmp_path):
    copy = birds / "Night_Inkling" / "copy.jpg"
    copy.write_bytes((birds / "Green_Inkling/001.jpg").read_bytes())
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}Night_Inkling/copy.jpg,relabel,Green Inkling,\n")
    decided, _ = apply_decisions(list_photos(birds), str(path))
    kept, _ = remove_bad_photos(survey_photos(decided, birds))
    assert "Green_Inkling/001.jpg" in set(kept["path"])


def test_a_training_reads_the_decisions_and_its_run_keeps_them(birds, file, tmp_path):
    recipe = Recipe(photos=str(birds), label_decisions=str(file))
    assert recipe.training_keys()["label_decisions"] == str(file)
    _, split, _ = load_split(recipe)
    labels = split.set_index("path")["label"]
    assert labels[WRONG] == "Green Inkling"
    assert GONE not in labels
    run = Run(tmp_path / "run")
    copy_decisions(str(file), run.label_decisions_file)
    assert run.label_decisions_file in run.products
    assert run.label_decisions_file.read_bytes() == file.read_bytes()
    copy_decisions("", tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_the_notebook_applies_and_reports_decisions_before_the_survey(birds, file, tmp_path):
    cells = nbformat.read(ROOT / "train.ipynb", 4).cells
    (source,) = [cell.source for cell in cells if "survey_photos, dataset" in cell.source]
    assert source.index("apply_decisions(dataset, label_decisions)") < source.index("survey_photos")
    assert "decided, problems" in source
