"""A recipe's `photos` names a folder, drawn birds, or a data set to download."""

import pytest

from fieldmark.data import locations
from fieldmark.data.datasets import list_photos
from fieldmark.errors import DatasetError
from tests import trees


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        locations.find_photo_folder(str(tmp_path / "nowhere"))


def test_the_environment_overrides_a_recipes_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(tmp_path))
    assert locations.find_photo_folder("drawn") == tmp_path
    assert locations.find_photo_folder(locations.CUB) == tmp_path


@pytest.fixture
def fastai_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path))
    (tmp_path / "config.ini").write_text("[DEFAULT]\ndata = data\narchive = archive\n")
    return tmp_path


def test_cub_is_read_from_fastais_folder_without_a_download(fastai_home):
    extracted = fastai_home / "data" / "CUB_200_2011"
    trees.make_cub(extracted / "CUB_200_2011", 1, 1)
    (extracted / "attributes.txt").write_text("")
    folder = locations.find_photo_folder(locations.CUB)
    assert set(list_photos(folder)["source"]) == {"CUB-200-2011"}


def test_a_failed_download_names_the_address_and_the_way_out(fastai_home):
    missing = (fastai_home / "archive.tgz").as_uri()
    with pytest.raises(DatasetError, match=r"archive\.tgz.*FIELDMARK_PHOTOS"):
        locations.download_dataset(missing)
