"""Photos that should not be trained on are removed, and every problem is reported."""

import shutil

import pytest
from PIL import Image

from fieldmark.data.datasets import list_photos
from fieldmark.data.quality import remove_bad_photos
from fieldmark.data.splits import split_photos
from fieldmark.data.survey import survey_photos
from fieldmark.errors import DatasetError
from tests import trees


def survey_folder(folder):
    return survey_photos(list_photos(folder), folder)


def save_again(source, target, quality=50):
    """Save a photo in lower quality: other bytes, the same bird."""
    with Image.open(source) as image:
        image.save(target, quality=quality)


@pytest.fixture
def birds(tmp_path):
    return trees.make_class_folders(tmp_path, 6)


@pytest.mark.parametrize(
    "make", [trees.make_birds_400, trees.make_cub, trees.make_nabirds, trees.make_competition]
)
def test_good_photos_are_kept_as_they_are(make, tmp_path):
    survey = survey_folder(make(tmp_path))
    photos, problems = remove_bad_photos(survey)
    assert len(problems) == 0
    assert photos["path"].equals(survey["path"])
    assert photos["group"].isna().all()


def test_unreadable_photos_are_left_out(birds):
    (birds / "Night_Inkling" / "003.jpg").write_bytes(b"half a bird")
    photos, problems = remove_bad_photos(survey_folder(birds))
    assert len(photos) == 6 * 6 - 1
    assert "Night_Inkling/003.jpg" not in set(photos["path"])
    assert problems[["path", "action"]].to_numpy().tolist() == [
        ["Night_Inkling/003.jpg", "left out"]
    ]


def test_the_first_of_several_copies_is_kept(birds):
    shutil.copy(birds / "Night_Inkling/003.jpg", birds / "Night_Inkling/103.jpg")
    photos, problems = remove_bad_photos(survey_folder(birds))
    assert "Night_Inkling/003.jpg" in set(photos["path"])
    copy = ["Night_Inkling/103.jpg", "a copy of Night_Inkling/003.jpg", "left out"]
    assert problems.to_numpy().tolist() == [copy]
    assert photos["group"].isna().all()


def test_copies_with_different_labels_are_all_left_out(birds):
    shutil.copy(birds / "Night_Inkling/003.jpg", birds / "Rusty_Inkling/103.jpg")
    photos, problems = remove_bad_photos(survey_folder(birds))
    assert problems["path"].tolist() == ["Night_Inkling/003.jpg", "Rusty_Inkling/103.jpg"]
    assert set(problems["action"]) == {"left out"}
    assert not set(problems["path"]) & set(photos["path"])


def test_near_duplicates_stay_in_one_split(birds):
    for number in range(1, 4):
        source = birds / f"Night_Inkling/{number:03}.jpg"
        save_again(source, birds / f"Night_Inkling/{number:03}-again.jpg")
    save_again(source, birds / "Rusty_Inkling/again.jpg", quality=60)
    photos, problems = remove_bad_photos(survey_folder(birds))
    assert photos["group"].notna().sum() == 7
    assert set(problems["action"]) == {"kept in the same split"}
    assert problems["problem"].str.contains("another label").sum() == 2
    for seed in range(4):
        splits = split_photos(photos, 0.3, 0.3, seed)
        assert (splits.groupby("group")["split"].nunique() == 1).all()


def test_a_group_of_the_data_set_is_kept(birds):
    survey = survey_folder(birds)
    survey.loc[3:5, "group"] = "by one photographer"
    photos, problems = remove_bad_photos(survey)
    assert len(problems) == 0
    assert photos["group"].dropna().index.tolist() == [3, 4, 5]
    assert photos["group"].nunique() == 1


@pytest.mark.parametrize("copy", [shutil.copy, save_again])
@pytest.mark.parametrize("make", [trees.make_birds_400, trees.make_cub, trees.make_competition])
def test_a_photo_in_two_splits_is_refused_unless_allowed(make, copy, tmp_path):
    photos = list_photos(make(tmp_path))
    is_train = photos["split"] == "train"
    train, test = photos["path"][is_train].iloc[1], photos["path"][~is_train].iloc[1]
    copy(tmp_path / train, tmp_path / test)
    survey = survey_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"leak.*allow_duplicates") as error:
        remove_bad_photos(survey)
    assert train in str(error.value)
    assert test in str(error.value)
    kept, problems = remove_bad_photos(survey, allow_duplicates=True)
    assert kept["path"].equals(photos["path"])
    assert set(problems["path"]) == {train, test}
    assert set(problems["action"]) == {"allowed"}


def test_copies_within_a_test_set_stay(tmp_path):
    folder = trees.make_cub(tmp_path)
    images = folder / "images" / "001.Ruby_capped_Inkling"
    shutil.copy(images / "011.jpg", images / "012.jpg")
    survey = survey_folder(folder)
    photos, _ = remove_bad_photos(survey)
    assert photos["path"].equals(survey["path"])
    assert photos["group"].isna().all()


@pytest.mark.parametrize("unreadable", [2, 6])
def test_a_class_with_too_few_photos_left_is_named(birds, unreadable):
    for number in range(1, unreadable + 1):
        (birds / "Green_Inkling" / f"{number:03}.jpg").write_bytes(b"")
    survey = survey_folder(birds)
    with pytest.raises(DatasetError, match=rf"5.*Green Inkling \({6 - unreadable}\)"):
        remove_bad_photos(survey)
    assert len(remove_bad_photos(survey, min_photos=0)[0]) == 6 * 6 - unreadable
