"""A corpus of awkward and hostile photos, and the response to each of them."""

import signal

import numpy as np
import pytest
from PIL import Image

from benchmarks.hostile_photos import HOSTILE
from birds import drawn, photo
from birds.workers.decoder import DEFAULT_LIMITS, Decoder, Limits
from tests.birds import photos
from tests.birds.photos import KINDS, encode_heic, encode_png
from tests.decoders import linux_only

PIXELS = drawn.draw_bird("Night_Inkling", 0, 90, 60)
JPEG, PNG, HEIC = drawn.encode_photo(PIXELS), encode_png(PIXELS), encode_heic(PIXELS)
FRAMES = [Image.fromarray(drawn.draw_bird(name, 0, 90, 60)) for name in drawn.SPECIES]


def animation(kind: str) -> bytes:
    return drawn.encode_photo(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:])


def with_exif(exif: bytes) -> bytes:
    return drawn.encode_photo(PIXELS, exif=b"Exif\x00\x00" + exif)


CLASSIFIED = {  # to the width and height of the upright photo
    **{f"awkward: {name}": (data, None) for name, data in drawn.awkward_photos().items()},
    **{f"kind: {name}": (data, (64, 64)) for name, (data, _) in KINDS.items()},
    **{f"EXIF orientation {n}": (drawn.encode_rotated(n, PIXELS), (90, 60)) for n in range(1, 9)},
    "EXIF orientation 9": (with_exif(b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x09\0\0"), (90, 60)),
    "EXIF that points nowhere": (with_exif(b"MM\0*\xff\xff\xff\xff"), (90, 60)),
    "incomplete EXIF": (with_exif(b"II*\0\x08\0\0\0\xff\xff\x12\x01"), (90, 60)),
    "progressive": (drawn.encode_photo(PIXELS, progressive=True), (90, 60)),
    "no chroma subsampling": (drawn.encode_photo(PIXELS, subsampling=0), (90, 60)),
    "garbage at the end": (JPEG + b"<script>" * 100, (90, 60)),
    "two photos in one": (JPEG + JPEG, (90, 60)),
    "animated GIF": (animation("GIF"), (90, 60)),
    "animated WebP": (animation("WEBP"), (90, 60)),
    "animated PNG": (animation("PNG"), (90, 60)),
    "lossy WebP": (drawn.encode_photo(PIXELS, "WEBP"), (90, 60)),
    "HEIC": (HEIC, (90, 60)),
    "one pixel": (encode_png(PIXELS[:1, :1]), (1, 1)),
    "a line": (encode_png(np.zeros((1, 5000, 3), np.uint8)), (5000, 1)),
    "a column": (drawn.encode_photo(np.zeros((5000, 1, 3), np.uint8)), (1, 5000)),
    "49 empty megapixels": (encode_png(Image.new("1", (7000, 7000))), (7000, 7000)),
    "transparent palette": (encode_png(photos.in_mode("P"), transparency=0), (64, 64)),
}
REFUSED = {
    "nothing": (b"", 400, "empty-photo"),
    "white space": (b" \n" * 50, 415, "not-a-photo"),
    "a letter": (b"Dear bird,", 415, "not-a-photo"),
    "a web page": (b"<!doctype html><img src='file:///etc/passwd'>", 415, "not-a-photo"),
    "SVG that loads": (b"<svg><image href='http://169.254.169.254/'/></svg>", 415, "not-a-photo"),
    "PDF": (b"%PDF-1.7\n", 415, "not-a-photo"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "not-a-photo"),
    "TIFF": (drawn.encode_photo(PIXELS, "TIFF"), 415, "not-a-photo"),
    "ICO": (drawn.encode_photo(Image.new("RGB", (32, 32)), "ICO"), 415, "not-a-photo"),
    "AVIF": (drawn.encode_photo(PIXELS, "AVIF"), 415, "not-a-photo"),
    "a film": (b"\0\0\0\x20ftypisom" + bytes(500), 415, "not-a-photo"),
    "the start of a JPEG": (b"\xff\xd8\xff", 415, "not-a-photo"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], 422, "damaged-photo"),
    "half a PNG": (PNG[: len(PNG) // 2], 422, "damaged-photo"),
    "half a HEIC": (HEIC[:-200], 422, "damaged-photo"),
    "a PNG with a flipped byte": (
        PNG[:60] + bytes([PNG[60] ^ 0xFF]) + PNG[61:],
        *(422, "damaged-photo"),
    ),
    "200 scans": (photos.jpeg_with_scans(200), 422, "damaged-photo"),
    "a run-length BMP": (photos.run_length_bmp(), 422, "damaged-photo"),
    "3,600 megapixels in 99 bytes": (photos.decompression_bomb(), 413, "photo-too-large"),
    "56 megapixels": (encode_png(Image.new("1", (8000, 7000))), 413, "photo-too-large"),
    "21 MiB": (bytes(photo.MAX_BYTES + 1), 413, "photo-too-large"),
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", CLASSIFIED)
def test_an_awkward_photo_is_classified(finding_client, name):
    data, size = CLASSIFIED[name]
    for crop in ("center", "auto"):
        response = finding_client.post(f"/api/classify?crop={crop}", content=data)
        assert response.status_code == 200, response.text
        body = response.json()
        assert len(body["predictions"]) == 5
        assert size in (None, (body["photo"]["width"], body["photo"]["height"]))


BOMBS = {  # to the share of their full size that a test sends, and the limit that ends them
    "34-byte WebP, lossless, 7000 x 7000": (1, photo.PhotoNeedsMemory),
    "baseline JPEG, 1,000 empty scans": (1, photo.DamagedPhoto),  # its decoder gets no memory
    "baseline JPEG, 2,000,000 empty scans": (0.005, photo.PhotoTooSlow),
    "progressive JPEG, 50 megapixels, 60 scans": (0.5, photo.PhotoTooSlow),
    "JPEG, 20 MiB of 0xFF": (0.1, photo.PhotoTooSlow),
    "JPEG, 20 MiB of empty comments": (0.1, photo.PhotoTooSlow),
    "PNG, 1.7 million empty chunks": (0.2, photo.PhotoTooSlow),
    "PNG, 1.7 million empty IDAT": (0.4, photo.PhotoTooSlow),
    "PNG, 20 MiB of tEXt": (0.2, photo.PhotoTooSlow),
    "GIF, 20 MiB of comments": (0.2, photo.PhotoTooSlow),
    "HEIC of noise": (0.7, photo.PhotoTooSlow),
    "PNG, 50 megapixels": (0.7, photo.PhotoTooSlow),
}


@pytest.fixture(scope="module")
def strict_decoder():
    """Return a decoder with a fortieth of the CPU time that a photo may take."""
    decoder = Decoder(2, Limits(cpu=DEFAULT_LIMITS.cpu / 40, wall=60))
    yield decoder
    decoder.close()


@linux_only
def test_each_bomb_is_ended_by_its_limit_and_a_normal_photo_beside_it_is_decoded(strict_decoder):
    assert BOMBS.keys() == HOSTILE.keys()
    for name, (scale, limit) in BOMBS.items():
        bomb = strict_decoder.submit(photo.prepare_photo, HOSTILE[name](scale), 64)
        normal = strict_decoder.submit(photo.prepare_photo, JPEG, 64)
        assert normal.result().value.width == 90
        error = bomb.exception()
        assert type(error) is limit, (name, error)
        if limit is photo.PhotoTooSlow:
            assert error.__cause__.exitcode == -signal.SIGPROF, name


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_photo_is_refused(finding_client, name):
    data, status, kind = REFUSED[name]
    for crop in ("center", "auto"):
        response = finding_client.post(f"/api/classify?crop={crop}", content=data)
        assert (response.status_code, response.json()["type"]) == (status, f"urn:fieldmark:{kind}")
    assert finding_client.get("/api/health").json()["in_flight"] == 0
