"""Bytes become upright RGB squares, exactly; what can't is refused with a sentence."""

import io
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from birds import drawn, photo

QUARTERS = np.zeros((64, 64, 3), np.uint8)
QUARTERS[:32, :32], QUARTERS[:32, 32:], QUARTERS[32:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def png(pixels, **options) -> bytes:
    return drawn.encode_photo(pixels, "PNG", **options)


def test_a_photo_of_the_right_size_keeps_every_pixel():
    pixels = drawn.draw_bird("Ruby_capped_Inkling", 3, 64, 64)
    prepared = photo.prepare(png(pixels), 64)
    assert prepared.dtype == np.uint8
    assert np.array_equal(prepared, pixels)


def test_the_middle_square_is_cut_before_it_is_resized():
    wide = np.full((20, 60, 3), 255, np.uint8)
    wide[:, 20:40] = (10, 20, 30)
    assert np.array_equal(photo.prepare(png(wide), 20), np.full((20, 20, 3), (10, 20, 30)))
    found = photo.prepare_photo(png(wide), 8)
    assert (found.width, found.height, found.crop) == (60, 20, (20, 0, 20, 20))
    # bicubic looks beyond the pixel it makes, but never beyond the square
    assert np.array_equal(found.pixels, np.full((8, 8, 3), (10, 20, 30)))


def test_the_filter_is_bicubic_and_antialiased():
    pixels = drawn.draw_bird("Blue_backed_Inkling", 2, 100, 100)
    expected = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(photo.prepare(png(pixels), 32), np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_phone_photo_is_turned_upright(orientation):
    prepared = photo.prepare(drawn.encode_rotated(orientation, QUARTERS), 64).astype(int)
    assert abs(prepared - QUARTERS).mean() < 3  # a JPEG keeps colours, not exact pixels


@pytest.mark.parametrize("orientation", [1, 6])
def test_size_and_crop_are_those_of_the_upright_photo(orientation):
    found = photo.prepare_photo(
        drawn.encode_rotated(orientation, drawn.draw_bird("Night_Inkling", 0, 90, 40)), 16
    )
    assert (found.width, found.height, found.crop) == (90, 40, (25, 0, 40, 40))


def mode(name: str) -> Image.Image:
    return Image.fromarray(QUARTERS).convert(name)


def sixteen_bit() -> bytes:
    grey = np.asarray(mode("L")).astype(np.uint16) * 257
    return png(grey)


KINDS = {
    "grey": (png(mode("L")), "L"),
    "grey with alpha": (png(mode("LA")), "L"),
    "black and white": (png(mode("1")), "1"),
    "RGBA": (png(mode("RGBA")), "RGB"),
    "palette": (png(mode("P")), "P"),
    "16-bit": (sixteen_bit(), "L"),
    "WebP": (drawn.encode_photo(QUARTERS, "WEBP", lossless=True), "RGB"),
    "GIF": (drawn.encode_photo(mode("P"), "GIF"), "P"),
    "BMP": (drawn.encode_photo(QUARTERS, "BMP"), "RGB"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_photo_becomes_rgb(kind):
    data, expected = KINDS[kind]
    assert np.array_equal(photo.prepare(data, 64), np.asarray(mode(expected).convert("RGB")))


def test_a_cmyk_photo_keeps_its_colours():
    prepared = photo.prepare(drawn.encode_photo(mode("CMYK"), quality=95), 64).astype(int)
    assert abs(prepared - QUARTERS).mean() < 3


def test_transparency_lies_on_white():
    glass = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert np.array_equal(photo.prepare(png(glass), 8), np.full((8, 8, 3), 255))


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = drawn.encode_photo(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(photo.prepare(data, 8), np.full((8, 8, 3), (255, 0, 0)))


def test_a_large_jpeg_decoded_at_reduced_scale_looks_the_same():
    data = drawn.awkward_photos()["12 megapixels"]
    reduced = photo.prepare(data, 224).astype(int)
    left, top, side = photo.centre_square(4000, 3000)
    whole = Image.open(io.BytesIO(data)).crop((left, top, left + side, top + side))
    whole = whole.resize((224, 224), Image.Resampling.BICUBIC)
    assert abs(reduced - np.asarray(whole)).mean() < 0.5
    assert photo.prepare_photo(data, 224).crop == (500, 0, 3000, 3000)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_no_reason_to_refuse_a_photo():
    data = drawn.encode_photo(QUARTERS, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert photo.prepare(data, 64).shape == (64, 64, 3)


def heic(pixels, **options) -> bytes:
    """Return a HEIC as phones write it; Pillow and what serves photos can only read them."""
    image = pillow_heif.from_pillow(Image.fromarray(pixels))
    file = io.BytesIO()
    image.save(file, **({"quality": 90} | options))
    return file.getvalue()


def test_a_heic_of_a_phone_is_read():
    found = photo.prepare_photo(heic(drawn.draw_bird("Night_Inkling", 0, 90, 60)), 60)
    assert (found.width, found.height, found.crop) == (90, 60, (15, 0, 60, 60))
    expected = photo.prepare(png(drawn.draw_bird("Night_Inkling", 0, 90, 60)), 60).astype(int)
    assert abs(found.pixels - expected).mean() < 5


def test_a_rotated_heic_is_turned_once():
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:32, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    prepared = photo.prepare(heic(upright, exif=exif.tobytes()), 64).astype(int)
    assert prepared[:32, 32:].mean() > 240
    assert prepared[32:].mean() < 15


def test_a_heic_of_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch):
    data = heic(QUARTERS)
    width = data.index(b"ispe") + 8
    huge = data[:width] + (60_000).to_bytes(4) * 2 + data[width + 8 :]
    with pytest.raises(photo.PhotoError) as caught:
        photo.prepare(huge, 64)
    assert isinstance(caught.value, photo.PhotoTooLarge | photo.NotAPhoto)
    monkeypatch.setattr(photo, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(photo.PhotoTooLarge):
        photo.prepare(data, 64)


def test_what_reads_heic_is_not_loaded_before_one_comes():
    code = "import sys; from birds import photo; photo.prepare(open(sys.argv[1], 'rb').read(), 8)"
    code += "; print('pi_heif' in sys.modules)"

    def loads(data: bytes, path) -> str:
        path.write_bytes(data)
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    with tempfile.TemporaryDirectory() as folder:
        assert loads(png(QUARTERS), Path(folder) / "a") == "False"
        assert loads(heic(QUARTERS), Path(folder) / "a") == "True"


def test_of_an_animation_only_the_first_frame_is_decoded():
    frames = [Image.new("RGB", (64, 64), (n, 0, 0)) for n in range(30)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = drawn.encode_photo(frames[0], kind, save_all=True, append_images=frames[1:])
        still = drawn.encode_photo(frames[0], kind)
        assert len(data) > 5 * len(still) or kind != "GIF"
        assert abs(photo.prepare(data, 64).astype(int) - photo.prepare(still, 64)).max() < 8
    frame = drawn.encode_photo(frames[0], "GIF")
    animated = drawn.encode_photo(frames[0], "GIF", save_all=True, append_images=frames[1:])
    damaged = animated[: len(frame) + 200] + b"\x00" * 40
    assert photo.prepare(damaged, 64).shape == (64, 64, 3)


def run_length_bmp() -> bytes:
    """Return a BMP of 64 x 64 pixels in runs, which are decoded in Python, byte by byte."""
    header = b"BM" + bytes(8) + (14 + 40 + 1024).to_bytes(4, "little")
    header += struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, 0, 0, 0, 256, 0)
    return header + bytes(1024) + b"\x40\x01\x00\x00" * 64 + b"\x00\x01"


def many_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan is there `count` times over."""
    data = drawn.encode_photo(QUARTERS, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_leaves_the_orientation_that_can_be_read():
    data = drawn.encode_rotated(6, QUARTERS)
    assert abs(photo.prepare(data, 64).astype(int) - QUARTERS).mean() < 3
    sub_folder_nowhere = b"\x87\x69\x00\x04\x00\x00\x00\x01\xff\xff\xff\xff"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02\x01\x12\x00\x03\x00\x00\x00\x01\x00\x03"
    exif += bytes(2) + sub_folder_nowhere + bytes(4)
    prepared = photo.prepare(drawn.encode_photo(QUARTERS[::-1, ::-1], exif=exif), 64).astype(int)
    assert abs(prepared - QUARTERS).mean() < 3


def bomb() -> bytes:
    """Return a PNG of a few bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        content = kind + body
        return len(body).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)

    header = (60_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(99))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"", photo.EmptyPhoto, id="nothing"),
        pytest.param(b"Dear bird,", photo.NotAPhoto, id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", photo.NotAPhoto, id="SVG"),
        pytest.param(drawn.encode_photo(QUARTERS)[:500], photo.DamagedPhoto, id="truncated JPEG"),
        pytest.param(png(QUARTERS)[:100], photo.DamagedPhoto, id="truncated PNG"),
        pytest.param(bomb(), photo.PhotoTooLarge, id="bomb"),
        pytest.param(png(Image.new("1", (8000, 7000))), photo.PhotoTooLarge, id="56 megapixels"),
        pytest.param(bytes(photo.MAX_BYTES + 1), photo.PhotoTooLarge, id="21 MB"),
        pytest.param(many_scans(200), photo.DamagedPhoto, id="200 scans"),
        pytest.param(run_length_bmp(), photo.DamagedPhoto, id="BMP in runs"),
        pytest.param(b"\0\0\0\x18ftypheic" + bytes(99), photo.NotAPhoto, id="no HEIC"),
        pytest.param(heic(QUARTERS)[:-40], photo.DamagedPhoto, id="truncated HEIC"),
    ],
)
def test_what_gives_no_pixels_gives_a_sentence(data, error):
    with pytest.raises(error) as caught:
        photo.prepare(data, 64)
    assert str(caught.value).endswith(".")
