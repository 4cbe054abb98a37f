"""Grounds are photos without birds, of which the other half evaluates the model."""

import pytest
from PIL import Image

from fieldmark.data.ood_photos import list_ood_photos
from fieldmark.errors import DatasetError
from fieldmark.finder.grounds import split_grounds
from fieldmark.training.grounds import REFLECTION, find_grounds, load_grounds


def test_grounds_are_one_half_of_the_photos_without_birds_unless_given(tmp_path):
    (photos,) = list_ood_photos("drawn").values()
    grounds = find_grounds("", "drawn")
    assert grounds == split_grounds(photos)[0]
    assert 20 < len(grounds) < len(photos) - 20
    assert find_grounds(REFLECTION, "drawn") == []
    assert load_grounds(find_grounds("", ""), 32) is None
    with pytest.raises(DatasetError, match="0 photos without birds"):
        find_grounds(str(tmp_path), "drawn")
    for number in range(20):
        Image.new("RGB", (50, 40), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    pixels = load_grounds(find_grounds(str(tmp_path), "drawn"), 32)
    assert pixels.shape == (20, 3, 32, 32)
    assert pixels[:, 0, 0, 0].tolist() == list(range(20))
