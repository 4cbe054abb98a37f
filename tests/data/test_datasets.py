"""The photos of every supported layout become one table."""

import pytest
from PIL import Image

from birds import photo
from fieldmark.data.datasets import list_ignored_files, list_photos
from fieldmark.data.listings import read_taxonomy
from fieldmark.data.ood_photos import MIN_OOD_PHOTOS, list_ood_photos
from fieldmark.errors import DatasetError
from tests import trees

LABELS = {name.replace("_", " ") for name in trees.SPECIES}


def check_paths(folder, photos) -> None:
    assert photos["path"].is_unique
    assert all((folder / path).is_file() for path in photos["path"])


def test_a_label_is_the_folders_name_with_spaces(folder):
    photos = list_photos(folder)
    assert set(photos["label"]) == LABELS
    assert photos["split"].value_counts().to_dict() == {"train": 12 * len(LABELS)}
    check_paths(folder, photos)


@pytest.mark.parametrize("name", ["a.heic", "b.HEIF", "c.JPG", "d.jpeg", "e.png", "f.webp"])
def test_all_formats_that_the_function_reads_are_listed(tmp_path, name):
    trees.make_class_folders(tmp_path, 1)
    (tmp_path / "Night_Inkling" / name).touch()
    assert f"Night_Inkling/{name}" in set(list_photos(tmp_path)["path"])


def test_every_suffix_is_of_a_format_that_the_function_reads():
    formats = {Image.registered_extensions().get(suffix, "HEIF") for suffix in photo.SUFFIXES}
    assert formats == {*photo.FORMATS, "HEIF"}


def test_files_that_are_not_photos_are_counted_by_suffix(tmp_path):
    trees.make_class_folders(tmp_path, 1)
    for name in ("a.tif", "b.TIF", "notes", ".DS_Store"):
        (tmp_path / "Night_Inkling" / name).touch()
    (tmp_path / "Raw_Inkling").mkdir()
    (tmp_path / "Raw_Inkling" / "c.cr2").touch()
    ignored = list_ignored_files(tmp_path, list_photos(tmp_path))
    counts = ignored["problem"].str.split().str[-1]
    assert dict(zip(ignored["path"], counts, strict=True)) == {
        "Night_Inkling/a.tif": "2",
        "Night_Inkling/notes": "1",
        "Raw_Inkling/c.cr2": "1",
    }
    assert set(ignored["action"]) == {"ignored"}


def test_photos_only_means_nothing_was_ignored(folder):
    assert list_ignored_files(folder, list_photos(folder)).empty


def test_train_and_valid_are_merged_and_test_keeps_its_name(tmp_path):
    photos = list_photos(trees.make_birds_400(tmp_path, 2, 1, 1), "hand-picked")
    assert photos["split"].value_counts().to_dict() == {"train": 6 * 3, "hand-picked": 6}
    assert set(photos["label"]) == {label.upper() for label in LABELS}
    check_paths(tmp_path, photos)
    test = photos[photos["split"] == "hand-picked"]
    assert test["path"].str.startswith("test/").all()


def test_cub_keeps_its_split_and_boxes(tmp_path):
    photos = list_photos(trees.make_cub(tmp_path, 2, 1))
    assert set(photos["source"]) == {"CUB-200-2011"}
    assert set(photos["label"]) == LABELS
    assert photos["split"].value_counts().to_dict() == {"train": 6 * 2, "test": 6}
    first = photos.iloc[0]
    assert first["path"] == "images/001.Ruby_capped_Inkling/001.jpg"
    assert tuple(first[["box_x", "box_y", "box_width", "box_height"]]) == trees.BOX
    check_paths(tmp_path, photos)


def test_nabirds_also_has_a_taxonomy(tmp_path):
    photos = list_photos(trees.make_nabirds(tmp_path, 2, 1))
    assert set(photos["source"]) == {"NABirds"}
    assert photos["split"].value_counts().to_dict() == {"train": 6 * 2, "test": 6}
    taxonomy = read_taxonomy(tmp_path).set_index("label")
    assert set(taxonomy.index) == LABELS
    assert taxonomy.loc["Night Inkling"].tolist() == ["Inklings", "Dull Inklings"]
    night = photos[photos["label"] == "Night Inkling"]
    assert set(night["level_2"]) == {"Dull Inklings"}


def test_a_competitions_classes_get_names_and_its_test_photos_no_label(tmp_path):
    photos = list_photos(trees.make_competition(tmp_path, 2, 3))
    assert photos["split"].value_counts().to_dict() == {"train": 6 * 2, "unlabelled": 3}
    train = photos[photos["split"] == "train"]
    assert dict(zip(train["class"], train["label"], strict=True)) == {
        str(n): name.replace("_", " ") for n, name in enumerate(trees.SPECIES)
    }
    assert photos["label"][photos["split"] == "unlabelled"].isna().all()
    check_paths(tmp_path, photos)


def test_a_competition_may_count_from_one(tmp_path):
    trees.make_competition(tmp_path, 1, 0)
    for number in range(6, 0, -1):
        (tmp_path / "train" / str(number - 1)).rename(tmp_path / "train" / str(number))
    photos = list_photos(tmp_path).set_index("class")
    assert photos.loc["1", "label"] == "Ruby capped Inkling"


def test_names_of_several_classes_stay_different(tmp_path):
    trees.make_competition(tmp_path, 1, 0)
    (tmp_path / "names.txt").write_text("Owl\nOwl\nJay\nTit\nRail\nKite\n")
    labels = {"Owl 0", "Owl 1", "Jay", "Tit", "Rail", "Kite"}
    assert set(list_photos(tmp_path)["label"]) == labels


def test_too_few_names_for_a_competition_are_refused(tmp_path):
    trees.make_competition(tmp_path, 1, 0)
    (tmp_path / "names.txt").write_text("Ruby_capped_Inkling\n")
    with pytest.raises(DatasetError, match=r"names\.txt has 1 lines"):
        list_photos(tmp_path)


@pytest.mark.parametrize("name", ["classes.txt", "image_class_labels.txt", "train_test_split.txt"])
def test_a_missing_list_is_named(tmp_path, name):
    (trees.make_cub(tmp_path, 1, 1) / name).unlink()
    with pytest.raises(DatasetError, match=name):
        list_photos(tmp_path)


def test_a_missing_photo_is_named(tmp_path):
    (trees.make_cub(tmp_path, 1, 1) / "images/001.Ruby_capped_Inkling/002.jpg").unlink()
    with pytest.raises(DatasetError, match=r"001\.Ruby_capped_Inkling/002\.jpg"):
        list_photos(tmp_path)


def test_a_photo_without_a_class_is_named(tmp_path):
    labels = trees.make_cub(tmp_path, 1, 1) / "image_class_labels.txt"
    labels.write_text(labels.read_text().replace("3 2\n", ""))
    with pytest.raises(DatasetError, match="photo 3"):
        list_photos(tmp_path)


def test_a_test_class_without_training_photos_is_named(tmp_path):
    folder = trees.make_birds_400(tmp_path, 1, 0, 1) / "test" / "NIGHT INKLING"
    folder.rename(folder.with_name("NIGTH INKLING"))
    with pytest.raises(DatasetError, match="NIGTH INKLING"):
        list_photos(tmp_path)


def test_one_species_is_not_enough(tmp_path):
    trees.write_birds(tmp_path / "Night_Inkling", "Night_Inkling", range(2))
    with pytest.raises(DatasetError, match="at least two"):
        list_photos(tmp_path)


def test_photos_without_birds_are_listed_wherever_they_lie(tmp_path, monkeypatch):
    assert list_ood_photos("") == {}
    for number in range(MIN_OOD_PHOTOS):
        (tmp_path / f"kind-{number}").mkdir()
        (tmp_path / f"kind-{number}" / "photo.heic").touch()
    assert len(list_ood_photos(str(tmp_path))["not_birds"]) == MIN_OOD_PHOTOS
    with pytest.raises(DatasetError, match="There are 0 photos"):
        list_ood_photos(str(tmp_path), readable=True)
    monkeypatch.setenv("FIELDMARK_NOT_BIRDS", str(tmp_path / "kind-0"))
    with pytest.raises(DatasetError, match="FIELDMARK_NOT_BIRDS"):
        list_ood_photos(str(tmp_path))
