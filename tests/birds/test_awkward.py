"""A corpus of awkward photos, and what each is answered with."""

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from birds import api, drawn, photo
from tests.birds.test_photo import (
    KINDS,
    bomb,
    heic,
    many_scans,
    mode,
    png,
    run_length_bmp,
)

pytestmark = pytest.mark.soak

BIRD = drawn.draw_bird("Night_Inkling", 0, 90, 60)
JPEG = drawn.encode_photo(BIRD)
FILM = [Image.fromarray(drawn.draw_bird(name, 0, 90, 60)) for name in drawn.SPECIES]


def film(kind: str) -> bytes:
    return drawn.encode_photo(FILM[0], kind, save_all=True, append_images=FILM[1:])


def marked(exif: bytes) -> bytes:
    return drawn.encode_photo(BIRD, exif=b"Exif\x00\x00" + exif)


def flipped_byte(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


NAMED = {  # to the width and height of the upright photo
    **{f"{name}, drawn": (data, None) for name, data in drawn.awkward_photos().items()},
    **{f"kind: {name}": (data, (64, 64)) for name, (data, _) in KINDS.items()},
    **{f"EXIF orientation {n}": (drawn.encode_rotated(n, BIRD), (90, 60)) for n in range(1, 9)},
    "EXIF orientation 9": (marked(b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x09\0\0"), (90, 60)),
    "EXIF that points nowhere": (marked(b"MM\0*\xff\xff\xff\xff"), (90, 60)),
    "EXIF that is cut short": (marked(b"II*\0\x08\0\0\0\xff\xff\x12\x01"), (90, 60)),
    "progressive": (drawn.encode_photo(BIRD, progressive=True), (90, 60)),
    "no chroma subsampling": (drawn.encode_photo(BIRD, subsampling=0), (90, 60)),
    "garbage behind it": (JPEG + b"<script>" * 100, (90, 60)),
    "two photos in one": (JPEG + JPEG, (90, 60)),
    "animated GIF": (film("GIF"), (90, 60)),
    "animated WebP": (film("WEBP"), (90, 60)),
    "animated PNG": (film("PNG"), (90, 60)),
    "lossy WebP": (drawn.encode_photo(BIRD, "WEBP"), (90, 60)),
    "HEIC": (heic(BIRD), (90, 60)),
    "one pixel": (png(BIRD[:1, :1]), (1, 1)),
    "a line": (png(np.zeros((1, 5000, 3), np.uint8)), (5000, 1)),
    "a column": (drawn.encode_photo(np.zeros((5000, 1, 3), np.uint8)), (1, 5000)),
    "49 megapixels of nothing": (png(Image.new("1", (7000, 7000))), (7000, 7000)),
    "interlaced palette with a clear colour": (png(mode("P"), transparency=0), (64, 64)),
}
REFUSED = {
    "nothing": (b"", 400, "empty-photo"),
    "white space": (b" \n" * 50, 415, "not-a-photo"),
    "a letter": (b"Dear bird,", 415, "not-a-photo"),
    "a web page": (b"<!doctype html><img src='file:///etc/passwd'>", 415, "not-a-photo"),
    "SVG that loads": (b"<svg><image href='http://169.254.169.254/'/></svg>", 415, "not-a-photo"),
    "PDF": (b"%PDF-1.7\n", 415, "not-a-photo"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "not-a-photo"),
    "TIFF": (drawn.encode_photo(BIRD, "TIFF"), 415, "not-a-photo"),
    "ICO": (drawn.encode_photo(Image.fromarray(BIRD).resize((32, 32)), "ICO"), 415, "not-a-photo"),
    "AVIF": (drawn.encode_photo(BIRD, "AVIF"), 415, "not-a-photo"),
    "a film": (b"\0\0\0\x20ftypisom" + bytes(500), 415, "not-a-photo"),
    "the start of a JPEG": (b"\xff\xd8\xff", 415, "not-a-photo"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], 422, "damaged-photo"),
    "half a PNG": (png(BIRD)[: len(png(BIRD)) // 2], 422, "damaged-photo"),
    "half a HEIC": (heic(BIRD)[:-200], 422, "damaged-photo"),
    "a PNG with a flipped byte": (flipped_byte(png(BIRD), 60), 422, "damaged-photo"),
    "200 scans": (many_scans(200), 422, "damaged-photo"),
    "a BMP in runs": (run_length_bmp(), 422, "damaged-photo"),
    "3,600 megapixels in 99 bytes": (bomb(), 413, "photo-too-large"),
    "56 megapixels": (png(Image.new("1", (8000, 7000))), 413, "photo-too-large"),
    "21 MiB": (bytes(photo.MAX_BYTES + 1), 413, "photo-too-large"),
}


@pytest.fixture
def client(model):
    return TestClient(api.create_app(model))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", NAMED)
def test_it_is_named(client, name):
    data, size = NAMED[name]
    answer = client.post("/api/classify", content=data)
    assert answer.status_code == 200, answer.text
    found = answer.json()["photo"]
    assert size in (None, (found["width"], found["height"]))


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(client, name):
    data, status, kind = REFUSED[name]
    answer = client.post("/api/classify", content=data)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:fieldmark:{kind}")
