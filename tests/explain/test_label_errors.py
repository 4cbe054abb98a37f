"""Wrong labels are found by out-of-fold confident learning, shown, decided and corrected."""

from dataclasses import replace
from itertools import combinations

import ipywidgets
import nbformat
import numpy as np
import pandas as pd
import pytest

from fieldmark.data.datasets import list_photos
from fieldmark.data.label_decisions import apply_decisions, read_decisions, write_decisions
from fieldmark.errors import DatasetError
from fieldmark.explain.mistakes.pairs import rank_pairs_before_training
from fieldmark.explain.page import write_page
from fieldmark.explain.photos import near_duplicates
from fieldmark.explain.photos.label_errors import (
    find_label_errors,
    find_typical_photos,
    judge_labels,
    predict_out_of_fold,
)
from fieldmark.explain.photos.label_gallery import show_label_errors, show_near_duplicates
from fieldmark.explain.photos.near_duplicates import (
    find_near_duplicates,
    pair_similar_features,
    standardise_to_units,
)
from fieldmark.explain.photos.review import LabelReview
from fieldmark.explain.photos.to_decide import write_template
from fieldmark.explain.pretrained import compute_pretrained_features
from tests.test_benchmarks import rows_of, run_module


@pytest.fixture(scope="module")
def features(explained, weights):
    return compute_pretrained_features(explained, str(weights))


@pytest.fixture(scope="module")
def swapped(explained):
    """Return the run with two pairs of photos that have each other's label, and their paths."""
    photos = explained.photos.copy()
    train = photos[photos["split"] == "train"]
    names = sorted(set(train["label"]))
    rows = [train.index[train["label"] == name][3] for name in names[:4]]
    photos.loc[rows, "label"] = photos.loc[[rows[1], rows[0], rows[3], rows[2]], "label"].array
    return replace(explained, photos=photos), list(photos["path"][rows])


@pytest.fixture(scope="module")
def errors(swapped, features):
    return find_label_errors(swapped[0], features, folds=4)


@pytest.fixture(scope="module")
def typical(errors, features, explained):
    return find_typical_photos(features, errors, list(explained.photos["path"]))


def test_swapped_labels_are_among_the_worst(errors, swapped, explained):
    _, paths = swapped
    assert len(set(errors["path"][:8]) & set(paths)) >= 3
    planted = errors[errors["path"].isin(paths)].set_index("path")
    true = explained.photos.set_index("path")["label"]
    assert planted["flagged"].sum() >= 3
    assert (planted["suggested"] == true[planted.index]).sum() >= 2
    assert errors["flagged"].is_monotonic_decreasing


def test_no_photo_is_judged_by_its_own_label(explained, features):
    """The same photo with another label gets the same probabilities, but for the folds."""
    labels = np.unique(explained.photos["label"], return_inverse=True)[1]
    photos = explained.photos.assign(group="")
    probability = predict_out_of_fold(features, labels, photos, folds=4)
    np.testing.assert_allclose(probability.sum(1), 1)
    rng = np.random.default_rng(0)
    noise = rng.permutation(labels)
    by_chance = predict_out_of_fold(features, noise, photos, folds=4)
    assert (by_chance.argmax(1) == noise).mean() < 0.5 < (probability.argmax(1) == labels).mean()


def test_flags_count_what_is_confidently_another_label():
    """Of 40 sure photos of two labels three are surely of the other, and one is undecided."""
    labels = np.repeat([0, 1], 20)
    probability = np.where(labels[:, None] == [0, 1], 0.95, 0.05)
    probability[[2, 5, 30]] = probability[[2, 5, 30], ::-1]
    probability[7] = 0.51, 0.49
    table = judge_labels(probability, labels)
    assert list(table.index[table["flagged"]]) == [2, 5, 30]
    assert list(table["suggested"]) == list(1 - labels)
    np.testing.assert_allclose(table["self_confidence"], probability[np.arange(40), labels])
    assert table["quality"].idxmin() in (2, 5, 30)


def test_a_photo_without_another_one_of_its_label_is_not_judged(explained, features):
    photos = explained.photos.copy()
    photos.loc[5, "label"] = "Lonely Inkling"
    table = find_label_errors(replace(explained, photos=photos), features, folds=3)
    assert list(table["label"])[-1] == "Lonely Inkling"
    assert not table["flagged"].iloc[-1]
    assert table["self_confidence"].isna().sum() == 1
    typical = find_typical_photos(features, table, list(photos["path"]))
    assert typical["Lonely Inkling"] == photos["path"][5]


def test_nothing_is_judged_where_each_label_has_one_photo(explained, features):
    photos = explained.photos.assign(label=[f"Inkling {row}" for row in range(len(features))])
    table = find_label_errors(replace(explained, photos=photos), features)
    assert table["self_confidence"].isna().all()
    assert not table["flagged"].any()
    assert rank_pairs_before_training(table).empty
    typical = find_typical_photos(features, table, list(photos["path"]))
    figure = show_label_errors(explained, table.head(4), typical)
    assert "if another photo has it): none" in figure.get_suptitle()


def test_two_species_are_judged_if_each_has_photos_to_learn_from(explained, features):
    labels = explained.photos["label"]
    first, second = (np.flatnonzero(labels == name) for name in sorted(set(labels))[:2])
    for rows, judged in (([*first, *second], 24), ([*first, second[0]], 10)):
        photos = explained.photos.iloc[rows].reset_index(drop=True)
        run = replace(explained, photos=photos, predictions=explained.predictions.select(rows))
        table = find_label_errors(run, features[rows])
        assert table["self_confidence"].notna().sum() >= judged
        assert set(table["suggested"]) == set(photos["label"])


def test_a_typical_photo_is_one_of_its_label_that_is_not_flagged(errors, typical, swapped):
    labels = swapped[0].photos.set_index("path")["label"]
    assert typical.keys() == set(labels)
    assert all(labels[path] == label for label, path in typical.items())
    assert not set(errors["path"][errors["flagged"]]) & set(typical.values())


def test_galleries_show_each_photo_beside_what_helps_to_judge_it(errors, typical, explained):
    figure = show_label_errors(explained, errors.head(4), typical)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert sum(bool(axes.images) for axes in figure.axes) == 12
    assert [title[0] for title in titles[:3]] == ["?", "=", "→"]
    empty = find_near_duplicates(explained, np.eye(len(explained.photos))).head(0)
    assert "none" in show_near_duplicates(explained, empty).get_suptitle()


def press(review, name):
    review.buttons[name].click()


def test_decisions_of_the_widget_correct_the_labels_of_the_next_training(
    errors, typical, swapped, explained, tmp_path
):
    run, paths = swapped
    file = tmp_path / "label_decisions.csv"
    wrong = errors[errors["path"].isin(paths)]
    review = LabelReview(run, wrong, typical, file)
    true = explained.photos.set_index("path")["label"]
    for path in wrong["path"]:
        review.species.value = true[path]
        press(review, "relabel")
    assert review.buttons["keep"].disabled
    given = run.photos[["path", "label", "split", "source"]]
    decided, report = apply_decisions(given, str(file))
    assert list(decided["label"]) == list(true[decided["path"]])
    assert len(report) == 4


def test_each_decision_is_written_at_once_and_can_be_undone(errors, typical, explained, tmp_path):
    file = tmp_path / "label_decisions.csv"
    file.write_text("path,decision,label,note,mine\nelsewhere.jpg,keep,,an old one,x\n")
    review = LabelReview(explained, errors.head(3), typical, file)
    first, second, third = errors["path"][:3]
    press(review, "keep")
    review.note.value = "two, birds"
    press(review, "remove")
    rows = read_decisions(file).set_index("path")
    assert list(rows.index) == ["elsewhere.jpg", first, second]
    assert rows["note"].tolist() == ["an old one", "", "two, birds"]
    assert rows.loc["elsewhere.jpg", "mine"] == "x"
    press(review, "undo")
    assert list(read_decisions(file)["path"]) == ["elsewhere.jpg", first]
    assert second in review.captions[0].value
    press(review, "skip")
    assert third in review.captions[0].value
    again = LabelReview(explained, errors.head(3), typical, file)
    assert second in again.captions[0].value
    assert again.status.value.startswith("1 of 3")


def test_a_file_that_somebody_broke_is_not_overwritten(errors, typical, explained, tmp_path):
    file = tmp_path / "label_decisions.csv"
    review = LabelReview(explained, errors.head(3), typical, file)
    file.write_text("path;nonsense\n")
    press(review, "keep")
    assert "Not done" in review.status.value
    assert file.read_text() == "path;nonsense\n"
    with pytest.raises(DatasetError, match="line 1"):
        LabelReview(explained, errors.head(3), typical, file)


def test_a_half_edited_file_is_reported_by_every_button(errors, typical, explained, tmp_path):
    file = tmp_path / "label_decisions.csv"
    review = LabelReview(explained, errors.head(3), typical, file)
    press(review, "keep")
    good = file.read_text()
    file.write_text(good.replace("keep", "kep"))
    for name in ("keep", "relabel", "remove", "undo", "skip"):
        review.status.value = ""
        press(review, name)
        assert "line 2: `kep` is not a decision" in review.status.value
    file.write_text(good)
    press(review, "undo")
    assert errors["path"][0] in review.captions[0].value
    assert read_decisions(file).empty


def test_other_columns_of_a_decided_row_stay(errors, typical, explained, tmp_path):
    file, path = tmp_path / "label_decisions.csv", errors["path"][0]
    file.write_text(f"path,decision,label,mine\n{path},,,from the ringer\n")
    review = LabelReview(explained, errors.head(3), typical, file)
    review.note.value = "a cap"
    press(review, "keep")
    (row,) = read_decisions(file).to_dict("records")
    assert (row["decision"], row["note"], row["mine"]) == ("keep", "a cap", "from the ringer")
    press(review, "undo")
    (row,) = read_decisions(file).to_dict("records")
    assert (row["decision"], row["note"], row["mine"]) == ("", "", "from the ringer")


def test_a_page_shows_a_table_in_place_of_the_widget(errors, typical, explained, tmp_path):
    review = LabelReview(explained, errors.head(3), typical, tmp_path / "labels.csv")
    bundle = review._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", bundle)
    cell = nbformat.v4.new_code_cell("review", outputs=[output])
    state = {"state": ipywidgets.Widget.get_manager_state()["state"], "version_major": 2}
    metadata = {"widgets": {"application/vnd.jupyter.widget-state+json": state}}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata=metadata)
    nbformat.write(notebook, tmp_path / "explain.ipynb")
    page = write_page(tmp_path / "explain.ipynb").read_text(encoding="utf-8")
    assert errors["path"][0] in page
    assert "to_decide.csv" in page
    assert "widget-view+json" not in page


def test_a_template_keeps_what_was_filled_in(errors, swapped, tmp_path):
    file = tmp_path / "to_decide.csv"
    template = write_template(file, errors.head(5))
    assert set(template["decision"]) == {""}
    photos = swapped[0].photos
    same, report = apply_decisions(photos, str(file))
    assert report.empty
    pd.testing.assert_frame_equal(same, photos)
    table = read_decisions(file)
    table.loc[2, ["decision", "note"]] = "relabel", "a cap"
    write_decisions(file, table)
    template = write_template(file, errors.iloc[1:6]).set_index("path")
    path = errors["path"][2]
    assert template.loc[path, ["decision", "note"]].tolist() == ["relabel", "a cap"]
    decided, _ = apply_decisions(photos, str(file))
    assert decided.set_index("path")["label"][path] == errors["suggested"][2]
    assert set(template.index) == set(errors["path"][1:6])


def test_a_template_keeps_notes_and_corrected_labels_without_a_decision(errors, tmp_path):
    file = tmp_path / "to_decide.csv"
    write_template(file, errors.head(5))
    table = read_decisions(file).assign(mine="")
    table.loc[1, "note"] = "ask the ringer"
    table.loc[2, "label"] = "Another Species"
    table.loc[3, "mine"] = "x"
    write_decisions(file, table)
    later = errors.iloc[3:7].assign(suggested="A New Suggestion")
    template = write_template(file, later).set_index("path")
    paths = errors["path"][1:4]
    assert list(template.index) == [*paths, *errors["path"][4:7]]
    assert template["note"].tolist()[0] == "ask the ringer"
    assert template["label"].tolist()[1] == "Another Species"
    assert set(template["label"][3:]) == {"A New Suggestion"}
    again = write_template(file, later.head(0)).set_index("path")
    assert list(again.index) == list(paths)
    file.write_text(f"path,decision,label\n{paths.iloc[0]},,Own Suggestion\n")
    own = write_template(file, errors.head(3)).set_index("path")
    assert own["label"].tolist() == ["Own Suggestion", *errors["suggested"][[0, 2]]]


def test_near_duplicates_of_different_labels_are_found_by_hash_and_by_features(
    explained, features, tmp_path
):
    photos = list_photos(explained.folder).assign(split="train")
    a, b = 3, 40
    same = features.copy()
    same[b] = same[a] + 0.001
    run = replace(explained, photos=photos)
    order = explained.photos.set_index("path").index.get_indexer(photos["path"])
    pairs = find_near_duplicates(run, same[order][: len(photos)])
    wanted = set(explained.photos["path"].iloc[[a, b]])
    assert {pairs["first"][0], pairs["second"][0]} == wanted
    assert pairs["similarity"][0] > 0.99
    assert np.isnan(pairs["distance"][0])
    assert (pairs["first_label"] != pairs["second_label"]).all()


def test_each_chunk_gives_its_most_similar_pairs(monkeypatch):
    """All pairs of unlike labels, compared one by one, are the oracle."""
    rng = np.random.default_rng(0)
    units, labels = standardise_to_units(rng.normal(size=(30, 4))), rng.integers(0, 3, 30)
    similarity = units @ units.T
    expected = {
        (a, b): similarity[a, b]
        for a, b in combinations(range(30), 2)
        if labels[a] != labels[b] and similarity[a, b] > 0.2
    }
    monkeypatch.setattr(near_duplicates, "CHUNK", 7)
    pairs = set(zip(*pair_similar_features(units, labels, 0.2), strict=True))
    assert pairs == set(expected)
    monkeypatch.setattr(near_duplicates, "MAX_PAIRS", 3)
    kept = set(zip(*pair_similar_features(units, labels, 0.2), strict=True))
    assert set(sorted(expected, key=lambda pair: expected[pair])[-3:]) <= kept <= pairs
    assert len(kept) <= 15  # 5 chunks


def test_a_copy_under_another_label_is_found_by_its_hash(explained, features, tmp_path):
    for path in explained.photos["path"]:
        target = tmp_path / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((explained.folder / path).read_bytes())
    first, second = explained.photos["path"].iloc[[0, 50]]
    (tmp_path / second).write_bytes((tmp_path / first).read_bytes())
    pairs = find_near_duplicates(replace(explained, folder=tmp_path), features)
    assert {pairs["first"][0], pairs["second"][0]} == {first, second}
    assert pairs["distance"][0] == 0
    figure = show_near_duplicates(replace(explained, folder=tmp_path), pairs.head(1))
    assert sum(bool(axes.images) for axes in figure.axes) == 2


def test_planted_label_errors_are_counted(run, folder, weights):
    options = ["--seeds", 1, "--weights", weights]
    rows = rows_of(run_module("label_errors", run, *options, FIELDMARK_PHOTOS=folder))
    assert [row[0] for row in rows.values()][1:] == ["1", "4", "1", "4"]
    assert set(rows) >= {"2 %, random", "5 %, confusable"}
