"""The folder that a recipe names is there, drawn or fetched, or a sentence says what to do."""

import pytest
from fastai.data.external import URLs

from fieldmark.data import datasets as sources
from fieldmark.data import locations as photos
from fieldmark.data.locations import PhotosError
from tests import trees


def test_a_missing_folder_says_what_to_put_where(tmp_path):
    with pytest.raises(PhotosError, match="one folder a species"):
        photos.folder(str(tmp_path / "nowhere"))


def test_the_environment_overrides_a_recipes_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(tmp_path))
    assert photos.folder("drawn") == tmp_path
    assert photos.folder("cub-200-2011") == tmp_path


def test_cub_is_fetched_by_fastai_and_found_within_its_archive(tmp_path, monkeypatch):
    trees.cub(tmp_path / "CUB_200_2011" / "CUB_200_2011")
    (tmp_path / "CUB_200_2011" / "attributes.txt").write_text("")
    kept = {URLs.CUB_200_2011: tmp_path / "CUB_200_2011"}
    monkeypatch.setattr(photos, "untar_data", kept.get)
    folder = photos.folder("cub-200-2011")
    assert set(sources.table(folder)["source"]) == {"CUB-200-2011"}


def test_without_a_network_cub_says_what_to_fetch(monkeypatch):
    def offline(url):
        raise OSError("no route to host")

    monkeypatch.setattr(photos, "untar_data", offline)
    with pytest.raises(PhotosError, match=r"CUB_200_2011.*no route.*FIELDMARK_PHOTOS"):
        photos.folder("cub-200-2011")
