"""Photos get a label and a part to play, and what judges never taught."""

import pytest

from birds import drawn
from training import photos
from training.photos import PhotosError


def test_a_label_is_its_folder_with_spaces(folder):
    table = photos.table(folder)
    assert set(table["label"]) == {name.replace("_", " ") for name in drawn.SPECIES}
    assert len(table) == 12 * len(drawn.SPECIES)
    assert all((folder / path).is_file() for path in table["path"])


def test_files_that_are_no_photos_are_passed_over(tmp_path):
    photos.draw(tmp_path, count=1)
    (tmp_path / "Night_Inkling" / "notes.txt").write_text("seen at dusk")
    assert len(photos.table(tmp_path)) == len(drawn.SPECIES)


def test_each_photo_is_in_one_part_and_each_species_in_all(folder):
    table = photos.split(photos.table(folder), 0.2, 0.2, seed=1)
    assert table["path"].is_unique
    counts = table.groupby(["label", "split"]).size().unstack()
    assert set(counts.columns) == {"train", "tune", "calibrate"}
    assert (counts["tune"] == 2).all()
    assert (counts["calibrate"] == 2).all()


@pytest.mark.parametrize("count", [5, 6, 7, 8, 30])
@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.05, 0.1), (0.1, 0.15)])
def test_even_a_small_species_is_in_every_part(tmp_path, count, shares):
    photos.draw(tmp_path, count=5)
    for seed in range(6, count + 1):
        (tmp_path / "Rusty_Inkling" / f"{seed:03}.jpg").write_bytes(b"")
    table = photos.split(photos.table(tmp_path), *shares)
    counts = table.groupby(["label", "split"]).size().unstack(fill_value=0)
    assert counts.min().min() >= 1
    assert (counts["train"] > counts["calibrate"]).all()


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, 0), (0.5, 0.5)])
def test_shares_that_leave_a_part_empty_are_refused(folder, shares):
    with pytest.raises(PhotosError, match="no split"):
        photos.split(photos.table(folder), *shares)


def test_what_taught_the_model_is_counted(table):
    count = (table["split"] == "train").sum()
    assert photos.described(table, "drawn ones") == f"{count} photos of 6 species: drawn ones"


def test_the_same_seed_gives_the_same_split_and_another_does_not(folder):
    found = photos.table(folder)
    first = photos.split(found, 0.2, 0.2, seed=1)
    assert first.equals(photos.split(found, 0.2, 0.2, seed=1))
    assert not first["split"].equals(photos.split(found, 0.2, 0.2, seed=2)["split"])


def test_a_missing_folder_says_what_to_put_where(tmp_path):
    with pytest.raises(PhotosError, match="one folder a species"):
        photos.folder(str(tmp_path / "nowhere"))


def test_the_environment_overrides_a_recipes_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(tmp_path))
    assert photos.folder("drawn") == tmp_path


def test_one_species_alone_is_refused(tmp_path):
    (tmp_path / "Night_Inkling").mkdir()
    (tmp_path / "Night_Inkling" / "1.jpg").write_bytes(b"")
    with pytest.raises(PhotosError, match="at least two"):
        photos.table(tmp_path)


def test_a_species_with_too_few_photos_is_named(tmp_path):
    photos.draw(tmp_path, count=6)
    for number in range(2, 6):
        (tmp_path / "Rusty_Inkling" / f"{number:03}.jpg").unlink()
    with pytest.raises(PhotosError, match=r"Rusty Inkling \(2\)"):
        photos.split(photos.table(tmp_path))
