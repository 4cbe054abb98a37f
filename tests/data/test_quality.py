"""What is wrong with the photos is acted on and told before they teach anything."""

import shutil

import pytest
from PIL import Image

from fieldmark.data import datasets as sources
from fieldmark.data import locations as photos
from fieldmark.data import splits as parts
from fieldmark.data.locations import PhotosError
from fieldmark.data.quality import checked
from fieldmark.data.survey import survey
from tests import trees


def looked_at(folder):
    """Survey a folder."""
    return survey(sources.table(folder), folder)


def save_anew(source, target, quality=50):
    """Save a photo again in lesser quality: other bytes, the same bird."""
    with Image.open(source) as image:
        image.save(target, quality=quality)


@pytest.fixture
def plain(tmp_path):
    """Return a folder per class with eight photos in each."""
    return photos.draw(tmp_path, count=8)


@pytest.mark.parametrize("build", [trees.birds_400, trees.cub, trees.nabirds, trees.competition])
def test_good_photos_are_no_trouble_and_stay_as_they_are(build, tmp_path):
    survey = looked_at(build(tmp_path))
    photos, trouble = checked(survey)
    assert len(trouble) == 0
    assert photos["path"].equals(survey["path"])
    assert photos["group"].isna().all()
    found = parts.split(photos)
    assert found["split"].eq("train").sum() == 6 * (photos["split"].eq("train").sum() / 6 - 2)


def test_unreadable_photos_are_listed_and_left_out(plain):
    (plain / "Night_Inkling" / "003.jpg").write_bytes(b"half a bird")
    photos, trouble = checked(looked_at(plain))
    assert "Night_Inkling/003.jpg" not in set(photos["path"])
    assert len(photos) == 6 * 8 - 1
    assert trouble.loc[0, ["path", "done"]].tolist() == ["Night_Inkling/003.jpg", "left out"]
    assert "not a photo" in trouble.loc[0, "trouble"]


def test_of_copies_with_one_label_one_stays(plain):
    shutil.copy(plain / "Night_Inkling/003.jpg", plain / "Night_Inkling/103.jpg")
    photos, trouble = checked(looked_at(plain))
    assert "Night_Inkling/003.jpg" in set(photos["path"])
    told = ["Night_Inkling/103.jpg", "a copy of Night_Inkling/003.jpg", "left out"]
    assert trouble.to_numpy().tolist() == [told]
    assert photos["group"].isna().all()


def test_copies_with_several_labels_are_all_left_out(plain):
    shutil.copy(plain / "Night_Inkling/003.jpg", plain / "Rusty_Inkling/103.jpg")
    photos, trouble = checked(looked_at(plain))
    assert trouble["path"].tolist() == ["Night_Inkling/003.jpg", "Rusty_Inkling/103.jpg"]
    assert set(trouble["done"]) == {"left out"}
    assert not set(trouble["path"]) & set(photos["path"])


@pytest.mark.parametrize("seed", range(4))
def test_photos_much_alike_are_kept_in_one_part(plain, seed):
    for number in range(1, 4):
        source = plain / f"Night_Inkling/{number:03}.jpg"
        save_anew(source, plain / f"Night_Inkling/{number:03}-anew.jpg")
    save_anew(source, plain / "Rusty_Inkling/anew.jpg", quality=60)
    photos, trouble = checked(looked_at(plain))
    assert photos["group"].notna().sum() == 7
    assert set(trouble["done"]) == {"kept in one part with it"}
    assert trouble["trouble"].str.endswith("of another label").sum() == 2
    found = parts.split(photos, 0.3, 0.3, seed)
    assert (found.groupby("group")["split"].nunique() == 1).all()


def test_a_group_that_the_source_knows_is_no_trouble_and_stays(plain):
    survey = looked_at(plain)
    survey.loc[3:5, "group"] = "by one photographer"
    photos, trouble = checked(survey)
    assert len(trouble) == 0
    assert photos["group"].dropna().index.tolist() == [3, 4, 5]
    assert photos["group"].nunique() == 1


@pytest.mark.parametrize("copy", [shutil.copy, save_anew])
@pytest.mark.parametrize("build", [trees.birds_400, trees.cub, trees.competition])
def test_a_photo_of_one_split_in_another_is_refused_unless_allowed(build, copy, tmp_path):
    table = sources.table(build(tmp_path))
    taught, judged = (table["path"][table["split"].eq("train") == part].iloc[1] for part in (1, 0))
    copy(tmp_path / taught, tmp_path / judged)
    survey = looked_at(tmp_path)
    with pytest.raises(PhotosError, match=r"1 times.*allow_duplicates") as error:
        checked(survey)
    assert taught in str(error.value)
    assert judged in str(error.value)
    photos, trouble = checked(survey, allow_duplicates=True)
    assert photos["path"].equals(table["path"])
    assert set(trouble["path"]) == {taught, judged}
    assert set(trouble["done"]) == {"allowed"}


def test_copies_within_an_official_test_stay(tmp_path):
    folder = trees.cub(tmp_path)
    images = folder / "images" / "001.Ruby_capped_Inkling"
    shutil.copy(images / "011.jpg", images / "012.jpg")
    survey = looked_at(folder)
    photos, _ = checked(survey)
    assert photos["path"].equals(survey["path"])
    assert photos["group"].isna().all()


def test_a_class_that_is_left_with_too_few_photos_is_named(plain):
    for number in range(1, 5):
        (plain / "Green_Inkling" / f"{number:03}.jpg").write_bytes(b"")
    survey = looked_at(plain)
    with pytest.raises(PhotosError, match=r"Green Inkling \(4\)"):
        checked(survey)
    assert checked(survey, fewest=4)[0]["label"].nunique() == 6
    with pytest.raises(PhotosError, match="needs 9"):
        checked(survey, fewest=9)


def test_a_class_of_which_nothing_can_be_read_is_named(plain):
    for file in (plain / "Green_Inkling").iterdir():
        file.write_bytes(b"")
    with pytest.raises(PhotosError, match=r"Green Inkling \(0\)"):
        checked(looked_at(plain))
