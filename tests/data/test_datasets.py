"""Whatever data set lies in a folder, its photos become one table."""

import pytest

from birds import drawn
from fieldmark.data import datasets as sources
from fieldmark.data import listings as lists
from fieldmark.data import locations as photos
from fieldmark.data.locations import PhotosError
from tests import trees

LABELS = {name.replace("_", " ") for name in drawn.SPECIES}


def counts(table) -> dict:
    assert table["path"].is_unique
    return table["split"].value_counts().to_dict()


def there(folder, table) -> bool:
    return all((folder / path).is_file() for path in table["path"])


def test_a_label_is_its_folder_with_spaces(folder):
    table = sources.table(folder)
    assert set(table["label"]) == LABELS
    assert counts(table) == {"train": 12 * len(LABELS)}
    assert there(folder, table)


def test_files_that_are_no_photos_are_passed_over(tmp_path):
    photos.draw(tmp_path, count=1)
    (tmp_path / "Night_Inkling" / "notes.txt").write_text("seen at dusk")
    assert len(sources.table(tmp_path)) == len(drawn.SPECIES)


def test_train_and_valid_are_one_and_test_stays_apart_under_its_name(tmp_path):
    table = sources.table(trees.birds_400(tmp_path, 4, 2, 3), "hand-picked")
    assert counts(table) == {"train": 6 * 6, "hand-picked": 6 * 3}
    assert set(table["label"]) == {label.upper() for label in LABELS}
    assert there(tmp_path, table)
    judged = table[table["split"] == "hand-picked"]
    assert judged["path"].str.startswith("test/").all()


def test_cub_keeps_its_split_and_boxes_and_loses_its_numbers(tmp_path):
    table = sources.table(trees.cub(tmp_path, 3, 2))
    assert set(table["source"]) == {"CUB-200-2011"}
    assert set(table["label"]) == LABELS
    assert counts(table) == {"train": 6 * 3, "test": 6 * 2}
    first = table.iloc[0]
    assert first["path"] == "images/001.Ruby_capped_Inkling/001.jpg"
    assert tuple(first[["box_x", "box_y", "box_width", "box_height"]]) == trees.BOX
    assert there(tmp_path, table)


def test_nabirds_is_read_like_cub_and_has_a_taxonomy(tmp_path):
    table = sources.table(trees.nabirds(tmp_path, 3, 2))
    assert set(table["source"]) == {"NABirds"}
    assert set(table["label"]) == LABELS
    assert counts(table) == {"train": 6 * 3, "test": 6 * 2}
    tree = lists.taxonomy(tmp_path).set_index("label")
    assert set(tree.index) == LABELS
    assert tree.loc["Night Inkling"].tolist() == ["Inklings", "Dull Inklings"]
    kept = table[table["label"] == "Night Inkling"][["level_1", "level_2"]].drop_duplicates()
    assert kept.to_numpy().tolist() == [["Inklings", "Dull Inklings"]]


def test_a_competitions_folders_are_named_and_its_test_has_no_labels(tmp_path):
    table = sources.table(trees.competition(tmp_path, 3, 5))
    assert counts(table) == {"train": 6 * 3, "unlabelled": 5}
    taught = table[table["split"] == "train"]
    assert dict(zip(taught["class"], taught["label"], strict=True)) == {
        str(n): name.replace("_", " ") for n, name in enumerate(drawn.SPECIES)
    }
    asked = table[table["split"] == "unlabelled"]
    assert asked["label"].isna().all()
    assert there(tmp_path, table)


def test_a_competition_may_count_from_one(tmp_path):
    trees.competition(tmp_path, 2, 0)
    for number in range(6, 0, -1):
        (tmp_path / "train" / str(number - 1)).rename(tmp_path / "train" / str(number))
    table = sources.table(tmp_path).set_index("class")
    assert set(table.loc["1", "label"]) == {"Ruby capped Inkling"}


def test_too_few_names_for_a_competition_are_refused(tmp_path):
    trees.competition(tmp_path, 2, 0)
    (tmp_path / "names.txt").write_text("Ruby_capped_Inkling\n")
    with pytest.raises(PhotosError, match="1 lines"):
        sources.table(tmp_path)


def test_classes_of_one_name_stay_two(tmp_path):
    trees.competition(tmp_path, 2, 0)
    (tmp_path / "names.txt").write_text("Owl\nOwl\nJay\nTit\nRail\nKite\n")
    labels = {"Owl 0", "Owl 1", "Jay", "Tit", "Rail", "Kite"}
    assert set(sources.table(tmp_path)["label"]) == labels


@pytest.mark.parametrize("build", [trees.birds_400, trees.cub, trees.nabirds, trees.competition])
def test_what_lies_there_beside_the_photos_changes_nothing(build, tmp_path):
    table = sources.table(build(tmp_path))
    (tmp_path / "README").write_text("thanks")
    (tmp_path / "parts").mkdir()
    assert sources.table(tmp_path).equals(table)


@pytest.mark.parametrize("name", ["classes.txt", "image_class_labels.txt", "train_test_split.txt"])
def test_a_list_that_is_missing_is_named(tmp_path, name):
    (trees.cub(tmp_path, 1, 1) / name).unlink()
    with pytest.raises(PhotosError, match=name):
        sources.table(tmp_path)


def test_a_listed_photo_that_is_missing_is_named(tmp_path):
    (trees.cub(tmp_path, 1, 1) / "images/001.Ruby_capped_Inkling/002.jpg").unlink()
    with pytest.raises(PhotosError, match=r"001\.Ruby_capped_Inkling/002\.jpg"):
        sources.table(tmp_path)


def test_a_photo_without_a_class_is_named(tmp_path):
    labels = trees.cub(tmp_path, 1, 1) / "image_class_labels.txt"
    labels.write_text(labels.read_text().replace("3 2\n", ""))
    with pytest.raises(PhotosError, match="photo 3"):
        sources.table(tmp_path)


def test_a_class_that_is_misspelt_in_test_is_named(tmp_path):
    wrong = trees.birds_400(tmp_path, 1, 1, 1) / "test" / "NIGHT INKLING"
    wrong.rename(wrong.with_name("NIGTH INKLING"))
    with pytest.raises(PhotosError, match="NIGTH INKLING"):
        sources.table(tmp_path)


def test_one_species_alone_is_refused(tmp_path):
    trees.birds(tmp_path / "Night_Inkling", "Night_Inkling", range(2))
    with pytest.raises(PhotosError, match="at least two"):
        sources.table(tmp_path)


def test_a_folder_of_nothing_known_says_what_is_known(tmp_path):
    with pytest.raises(PhotosError, match=r"train and test.*images\.txt"):
        sources.table(tmp_path)


def test_a_tree_without_a_hierarchy_has_no_taxonomy(tmp_path):
    with pytest.raises(PhotosError, match="hierarchy"):
        lists.taxonomy(trees.cub(tmp_path, 1, 1))
