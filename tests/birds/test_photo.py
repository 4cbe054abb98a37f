"""Bytes become upright RGB squares, exactly; hostile and damaged ones are refused."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from birds import drawn, photo, photo_limits
from birds.errors import UserError
from tests.birds import photos
from tests.birds.photos import KINDS, QUARTERS, encode_heic, encode_png, in_mode


def mean_difference(data: bytes, expected: np.ndarray, size: int = 64) -> float:
    return abs(photo.prepare(data, size).astype(int) - expected).mean()


def test_a_photo_of_the_right_size_keeps_every_pixel():
    pixels = drawn.draw_bird("Ruby_capped_Inkling", 3, 64, 64)
    prepared = photo.prepare(encode_png(pixels), 64)
    assert prepared.dtype == np.uint8
    assert np.array_equal(prepared, pixels)


def test_the_centre_square_is_cropped_before_it_is_resized():
    wide = np.full((20, 60, 3), 255, np.uint8)
    wide[:, 20:40] = (10, 20, 30)
    assert np.array_equal(photo.prepare(encode_png(wide), 20), wide[:, 20:40])
    prepared = photo.prepare_photo(encode_png(wide), 8)
    assert (prepared.width, prepared.height, prepared.crop) == (60, 20, (20, 0, 20, 20))
    # bicubic reads neighbouring pixels, but none outside the square
    assert np.array_equal(prepared.pixels, np.full((8, 8, 3), (10, 20, 30)))


def test_the_filter_is_bicubic_and_antialiased():
    pixels = drawn.draw_bird("Blue_backed_Inkling", 2, 100, 100)
    expected = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(photo.prepare(encode_png(pixels), 32), np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_phone_photo_is_turned_upright(orientation):
    data = drawn.encode_rotated(orientation, QUARTERS)
    assert mean_difference(data, QUARTERS) < 3  # JPEG is lossy
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert mean_difference(data, np.asarray(upright)) < 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_size_and_crop_are_those_of_the_upright_photo(orientation):
    data = drawn.encode_rotated(orientation, drawn.draw_bird("Night_Inkling", 0, 90, 40))
    prepared = photo.prepare_photo(data, 16)
    assert (prepared.width, prepared.height, prepared.crop) == (90, 40, (25, 0, 40, 40))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_photo_becomes_rgb(kind):
    data, mode = KINDS[kind]
    assert np.array_equal(photo.prepare(data, 64), np.asarray(in_mode(mode).convert("RGB")))


def test_a_cmyk_photo_keeps_its_colours():
    assert mean_difference(drawn.encode_photo(in_mode("CMYK"), quality=95), QUARTERS) < 3


def test_transparency_becomes_white():
    glass = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert np.array_equal(photo.prepare(encode_png(glass), 8), np.full((8, 8, 3), 255))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_only_the_first_frame_of_an_animation_is_decoded(kind):
    frames = [Image.new("RGB", (64, 64), (8 * n, 0, 0)) for n in range(30)]
    still = drawn.encode_photo(frames[0], kind)
    animated = drawn.encode_photo(frames[0], kind, save_all=True, append_images=frames[1:])
    assert mean_difference(animated, photo.prepare(still, 64)) < 8
    if kind == "GIF":  # the damage after the first frame is not noticed
        damaged = animated[: len(still) + 200] + bytes(40)
        assert photo.prepare(damaged, 64).shape == (64, 64, 3)


def test_a_large_jpeg_decoded_at_reduced_scale_looks_the_same():
    data = drawn.awkward_photos()["12 megapixels"]
    left, top, side = photo.centre_square(4000, 3000)
    full = Image.open(io.BytesIO(data)).crop((left, top, left + side, top + side))
    full = full.resize((224, 224), Image.Resampling.BICUBIC)
    prepared = photo.prepare_photo(data, 224)
    assert abs(prepared.pixels.astype(int) - np.asarray(full)).mean() < 0.5
    assert prepared.crop == (500, 0, 3000, 3000)


@pytest.mark.parametrize("kind", [*KINDS, "CMYK", "transparent", "transparent RGB"])
def test_the_middle_square_of_a_whole_photo_is_the_one_that_prepare_takes(kind):
    data = {
        "CMYK": drawn.encode_photo(in_mode("CMYK"), quality=95),
        "transparent": encode_png(in_mode("P"), transparency=0),
        "transparent RGB": encode_png(in_mode("RGB"), transparency=(255, 0, 0)),
    } | {name: data for name, (data, _) in KINDS.items()}
    decoded = photo.decode_upright(data[kind])
    assert decoded.pixels.shape == (64, 64, 3)
    prepared = photo.crop_photo(decoded, (0, 0, 64, 64), 48)
    assert np.array_equal(prepared.pixels, photo.prepare(data[kind], 48))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_whole_photo_is_upright_and_its_finder_input_too(orientation):
    pixels = drawn.draw_bird("Night_Inkling", 0, 320, 200)
    decoded = photo.decode_upright(drawn.encode_rotated(orientation, pixels), 320)
    assert (decoded.width, decoded.height) == (320, 200)
    assert abs(decoded.pixels.astype(int) - pixels).mean() < 2
    assert decoded.finder_pixels.shape == (192, 320, 3)
    crop = photo.crop_photo(decoded, (100, 50, 64, 64), 64).pixels.astype(int)
    assert abs(crop - pixels[50:114, 100:164]).mean() < 3


@pytest.mark.parametrize(
    ("size", "kind", "reduced"),
    [
        ((4000, 3000), "JPEG", (2000, 1500)),
        ((3000, 4000), "PNG", (1000, 1334)),
        ((1999, 1999), "JPEG", (1999, 1999)),
        ((1999, 2999), "PNG", (1000, 1500)),  # or it would have over 4 megapixels
        ((9000, 900), "JPEG", (4500, 450)),
        ((9, 12), "PNG", (9, 12)),
        ((5000, 1), "PNG", (5000, 1)),
        ((1, 9_000_000), "PNG", (1, 3_000_000)),  # each partial square takes a whole pixel
    ],
)
def test_a_whole_photo_is_reduced_to_at_most_four_megapixels(size, kind, reduced):
    grey = Image.linear_gradient("L").resize(size)
    decoded = photo.decode_upright(drawn.encode_photo(grey, kind), 320)
    assert decoded.pixels.shape[1::-1] == reduced
    assert (decoded.width, decoded.height) == size
    assert all(side % 32 == 0 and side >= 96 for side in decoded.finder_pixels.shape[:2])
    side = min(size)
    whole = photo.crop_photo(decoded, (0, 0, side, side), 16).pixels.astype(int)
    expected = grey.crop((0, 0, side, side)).resize((16, 16), Image.Resampling.BICUBIC)
    assert abs(whole - np.asarray(expected, int)[..., None]).mean() < 2


def test_a_requested_crop_is_widened_to_a_square_inside_the_photo():
    pixels = drawn.draw_bird("Night_Inkling", 0, 100, 80)
    prepared = photo.prepare_photo(encode_png(pixels), 40, crop=(60, 45, 40, 20))
    assert prepared.crop == (60, 35, 40, 40)
    assert np.array_equal(prepared.pixels, pixels[35:75, 60:])
    assert photo.prepare_photo(encode_png(pixels), 8, crop=(0, 0, 100, 10)).crop == (10, 0, 80, 80)


@pytest.mark.parametrize(
    "crop", [(-1, 0, 9, 9), (0, 0, 0, 5), (95, 0, 6, 6), (0, 75, 6, 6), (0, 0, 10**30, 1)]
)
def test_a_crop_outside_of_the_photo_is_refused_with_its_size(crop):
    data = encode_png(drawn.draw_bird("Night_Inkling", 0, 100, 80))
    with pytest.raises(photo.CropOutsidePhoto, match="100 x 80"):
        photo.prepare_photo(data, 8, crop=crop)


NO_EXIF = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
ROTATED_EXIF = (  # orientation 3, then a sub-directory that points nowhere
    b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02\x01\x12\x00\x03\x00\x00\x00\x01\x00\x03\x00\x00"
    b"\x87\x69\x00\x04\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00\x00\x00"
)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    ("exif", "upright"),
    [
        pytest.param(NO_EXIF, QUARTERS, id="unreadable"),
        pytest.param(ROTATED_EXIF, QUARTERS[::-1, ::-1], id="orientation readable"),
    ],
)
def test_damaged_exif_is_ignored_except_for_a_readable_orientation(exif, upright):
    assert mean_difference(drawn.encode_photo(QUARTERS, exif=exif), upright) < 3


def test_a_heic_of_a_phone_is_decoded():
    pixels = drawn.draw_bird("Night_Inkling", 0, 90, 60)
    prepared = photo.prepare_photo(encode_heic(pixels), 60)
    assert (prepared.width, prepared.height, prepared.crop) == (90, 60, (15, 0, 60, 60))
    assert abs(prepared.pixels.astype(int) - photo.prepare(encode_png(pixels), 60)).mean() < 5


def test_a_rotated_heic_is_turned_once():
    scene, exif = np.zeros((64, 64, 3), np.uint8), Image.Exif()
    scene[:32, :32] = 255
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    prepared = photo.prepare(encode_heic(scene, exif=exif.tobytes()), 64).astype(int)
    assert prepared[:32, 32:].mean() > 240
    assert prepared[32:].mean() < 15


def test_a_heic_of_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch):
    data = encode_heic(QUARTERS)
    width = data.index(b"ispe") + 8
    huge = data[:width] + (60_000).to_bytes(4) * 2 + data[width + 8 :]
    with pytest.raises((photo.PhotoTooLarge, photo.NotAPhoto)):
        photo.prepare(huge, 64)
    monkeypatch.setattr(photo_limits, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(photo.PhotoTooLarge):
        photo.prepare(data, 64)


def test_the_heic_decoder_is_loaded_with_the_first_heic(tmp_path):
    (tmp_path / "png").write_bytes(photos.PNG)
    (tmp_path / "heic").write_bytes(encode_heic(QUARTERS))
    code = "import sys; from birds import photo\nfor path in sys.argv[1:]:\n"
    code += "  photo.prepare(open(path, 'rb').read(), 8); print('pi_heif' in sys.modules)"
    command = [sys.executable, "-c", code, tmp_path / "png", tmp_path / "heic"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"", photo.EmptyPhoto, id="nothing"),
        pytest.param(b"Dear bird,", photo.NotAPhoto, id="text"),
        pytest.param(b"\0\0\0\x18ftypheic" + bytes(99), photo.NotAPhoto, id="not a HEIC"),
        pytest.param(drawn.encode_photo(QUARTERS)[:500], photo.DamagedPhoto, id="half a JPEG"),
        pytest.param(encode_heic(QUARTERS)[:-40], photo.DamagedPhoto, id="half a HEIC"),
        pytest.param(photos.jpeg_with_scans(200), photo.DamagedPhoto, id="200 scans"),
        pytest.param(photos.run_length_bmp(), photo.DamagedPhoto, id="run-length BMP"),
        pytest.param(photos.decompression_bomb(), photo.PhotoTooLarge, id="bomb"),
        pytest.param(bytes(photo.MAX_BYTES + 1), photo.PhotoTooLarge, id="21 MB"),
    ],
)
def test_bytes_that_give_no_pixels_raise_an_error_with_a_sentence(data, error):
    with pytest.raises(error) as caught:
        photo.prepare(data, 64)
    assert isinstance(caught.value, UserError)
    assert str(caught.value).endswith(".")
