"""A crop to the box shows the bird, upright and whole, and is a photo like any other."""

import io

import numpy as np
import pytest
from PIL import Image

from birds import drawn, photo
from fieldmark.data import crops as crop
from fieldmark.data import datasets as sources
from fieldmark.data.datasets import source
from fieldmark.data.locations import PhotosError
from tests import trees


def field(box, width=200, height=120) -> np.ndarray:
    """Paint a red box on green."""
    left, top, across, down = box
    pixels = np.full((height, width, 3), (0, 160, 0), np.uint8)
    pixels[top : top + down, left : left + across] = (220, 0, 0)
    return pixels


def red(data: bytes) -> np.ndarray:
    """Return where the middle square that the function sees is red."""
    pixels = photo.prepare(data, 60).astype(int)
    return pixels[..., 0] > pixels[..., 1]


@pytest.mark.parametrize("box", [(80, 20, 60, 60), (90, 10, 20, 80), (0, 30, 70, 30)])
def test_all_of_the_box_is_seen_and_little_else(box):
    data = crop.cut(drawn.encode_photo(field(box), quality=95), box)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (max(box[2:]),) * 2
    share = box[2] * box[3] / max(box[2:]) ** 2
    assert red(data).mean() == pytest.approx(share, abs=0.03)


def test_a_box_longer_than_the_photo_is_high_is_cut_to_the_photo():
    data = crop.cut(drawn.encode_photo(field((20, 50, 160, 30))), (20, 50, 160, 30))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (160, 120)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_crop_of_a_turned_photo_is_upright(orientation):
    """A box counts the pixels of the file, whatever EXIF then makes of them."""
    upright = field((120, 20, 40, 20))
    data = drawn.encode_rotated(orientation, upright)
    with Image.open(io.BytesIO(data)) as image:
        stored = np.asarray(image).astype(int)
    down, across = np.nonzero(stored[..., 0] > stored[..., 1] + 100)
    box = across.min(), down.min(), np.ptp(across) + 1, np.ptp(down) + 1
    found = crop.cut(data, box)
    with Image.open(io.BytesIO(found)) as image:
        assert not image.getexif()
    rows, columns = np.nonzero(red(found))
    assert np.ptp(columns) > 1.5 * np.ptp(rows)


def test_crops_keep_their_paths_and_the_table_loses_its_boxes(tmp_path):
    folder = trees.cub(tmp_path / "cub", 2, 1)
    table = sources.table(folder)
    out, cropped = crop.cropped(table, folder, tmp_path / "crops")
    assert cropped.equals(table.drop(columns=crop.BOX))
    for path in cropped["path"]:
        with Image.open(out / path) as image:
            assert image.size == (80, 80)
    assert not list(out.rglob("*.part"))


def test_a_second_call_finds_the_crops_done_and_goes_on_where_one_was_stopped(tmp_path):
    folder = trees.cub(tmp_path / "cub", 2, 1)
    table = sources.table(folder)
    out, _ = crop.cropped(table, folder, tmp_path / "crops")
    first, second = (out / path for path in table["path"][:2])
    first.write_bytes(b"kept")
    second.unlink()
    assert crop.cropped(table, folder, tmp_path / "crops")[0] == out
    assert first.read_bytes() == b"kept"
    assert second.is_file()


def test_other_boxes_are_other_crops(tmp_path):
    folder = trees.cub(tmp_path / "cub", 2, 1)
    table = sources.table(folder)
    out, _ = crop.cropped(table, folder, tmp_path / "crops")
    table["box_width"] -= 30
    table["box_height"] -= 30
    other, _ = crop.cropped(table, folder, tmp_path / "crops")
    with Image.open(other / table["path"][0]) as image:
        assert image.size == (50, 50)
    assert other != out


def test_what_cannot_be_cropped_is_copied_for_the_survey_to_report(tmp_path):
    folder = trees.cub(tmp_path / "cub", 2, 1)
    table = sources.table(folder)
    (folder / table["path"][0]).write_bytes(b"half a bird")
    table.loc[1, "box_x"] = 4000.0
    out, _ = crop.cropped(table, folder, tmp_path / "crops")
    for path in table["path"][:2]:
        assert (out / path).read_bytes() == (folder / path).read_bytes()


def test_a_recipe_says_whether_to_crop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = trees.cub(tmp_path / "cub", 2, 1)
    assert source({"photos": "cub"})[0].resolve() == folder
    out, table = source({"photos": "cub", "crop_to_box": True})
    assert out.resolve().is_relative_to(tmp_path / "runs")
    assert (out / table["path"][0]).is_file()


def test_photos_without_boxes_cannot_be_cropped(folder, tmp_path):
    with pytest.raises(PhotosError, match="bounding_boxes"):
        crop.cropped(sources.table(folder), folder, tmp_path)
