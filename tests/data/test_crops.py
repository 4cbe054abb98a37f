"""A crop to the box shows the whole bird, upright, and is a photo like any other."""

import io

import numpy as np
import pytest
from PIL import Image

from birds import drawn, photo
from fieldmark.data.crops import BOX, crop_square, crop_to_boxes
from fieldmark.data.datasets import list_photos, load_dataset
from fieldmark.errors import DatasetError
from tests import trees


def paint_box(box, width=200, height=120) -> np.ndarray:
    """Paint a red box on green."""
    left, top, across, down = box
    pixels = np.full((height, width, 3), (0, 160, 0), np.uint8)
    pixels[top : top + down, left : left + across] = (220, 0, 0)
    return pixels


def find_red(data: bytes) -> np.ndarray:
    """Return where a prepared photo is red, bool [60, 60]."""
    pixels = photo.prepare(data, 60).astype(int)
    return pixels[..., 0] > pixels[..., 1]


def image_size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


@pytest.mark.parametrize("box", [(80, 20, 60, 60), (90, 10, 20, 80), (0, 30, 70, 30)])
def test_the_prepared_crop_shows_the_whole_box_and_little_else(box):
    data = crop_square(drawn.encode_photo(paint_box(box), quality=95), box)
    assert image_size(data) == (max(box[2:]),) * 2
    fraction = box[2] * box[3] / max(box[2:]) ** 2
    assert find_red(data).mean() == pytest.approx(fraction, abs=0.03)


def test_a_box_longer_than_the_photo_is_high_gives_a_rectangle():
    box = (20, 50, 160, 30)
    assert image_size(crop_square(drawn.encode_photo(paint_box(box)), box)) == (160, 120)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_crop_of_a_rotated_photo_is_upright(orientation):
    """Boxes count the pixels of the file, before EXIF turns them."""
    data = drawn.encode_rotated(orientation, paint_box((120, 20, 40, 20)))
    with Image.open(io.BytesIO(data)) as image:
        stored = np.asarray(image).astype(int)
    down, across = np.nonzero(stored[..., 0] > stored[..., 1] + 100)
    crop = crop_square(data, (across.min(), down.min(), np.ptp(across) + 1, np.ptp(down) + 1))
    with Image.open(io.BytesIO(crop)) as image:
        assert not image.getexif()
    rows, columns = np.nonzero(find_red(crop))
    assert np.ptp(columns) > 1.5 * np.ptp(rows)


@pytest.fixture
def cub(tmp_path):
    return trees.make_cub(tmp_path / "cub", 1, 1)


def test_crops_keep_their_paths_and_an_interrupted_call_is_completed(cub, tmp_path):
    photos = list_photos(cub)
    out, cropped = crop_to_boxes(photos, cub, tmp_path / "crops")
    assert cropped.equals(photos.drop(columns=BOX))
    assert all(image_size((out / path).read_bytes()) == (80, 80) for path in cropped["path"])
    first, second = (out / path for path in photos["path"][:2])
    first.write_bytes(b"kept")
    second.unlink()
    assert crop_to_boxes(photos, cub, tmp_path / "crops")[0] == out
    assert first.read_bytes() == b"kept"
    assert second.is_file()


def test_other_boxes_get_another_folder(cub, tmp_path):
    photos = list_photos(cub)
    out, _ = crop_to_boxes(photos, cub, tmp_path / "crops")
    photos[["box_width", "box_height"]] -= 30
    other, _ = crop_to_boxes(photos, cub, tmp_path / "crops")
    assert other != out
    assert image_size((other / photos["path"][0]).read_bytes()) == (50, 50)


def test_a_photo_that_cannot_be_decoded_is_copied_for_the_survey(cub, tmp_path):
    photos = list_photos(cub)
    path = photos["path"][0]
    (cub / path).write_bytes(b"half a bird")
    out, _ = crop_to_boxes(photos, cub, tmp_path / "crops")
    assert (out / path).read_bytes() == b"half a bird"


def test_a_box_outside_of_its_photo_is_reported(cub, tmp_path):
    photos = list_photos(cub)
    photos.loc[1, "box_x"] = 4000.0
    with pytest.raises(DatasetError, match=r"002\.jpg.*4040 .*bounding_boxes\.txt"):
        crop_to_boxes(photos, cub, tmp_path / "crops")


def test_a_data_set_is_cropped_on_request(cub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_dataset("cub")[0].resolve() == cub
    out, photos = load_dataset("cub", crop="boxes")
    assert out.resolve().is_relative_to(tmp_path / "runs")
    assert (out / photos["path"][0]).is_file()


def test_photos_without_boxes_cannot_be_cropped(folder, tmp_path):
    with pytest.raises(DatasetError, match="crop: none"):
        crop_to_boxes(list_photos(folder), folder, tmp_path)
