"""Tests of reading time, place and camera from EXIF, also from damaged and hostile EXIF."""

import io
import random
import struct
from datetime import datetime

import pytest
from PIL import ExifTags, Image

from birds import drawn
from fieldmark.bulk.exif import MAX_EXIF, MAX_TEXT, read_exif
from fieldmark.bulk.rows import EXIF_COLUMNS
from tests.birds.photos import encode_heic

Base, GPS = ExifTags.Base, ExifTags.GPS
BIRD = "Night_Inkling"
NOTHING = dict.fromkeys(EXIF_COLUMNS)
TAKEN = {Base.DateTimeOriginal: "2026:05:01 05:06:07", Base.OffsetTimeOriginal: "+02:00"}
PLACE = {
    **{GPS.GPSLatitudeRef: "S", GPS.GPSLatitude: (50.0, 30.0, 0.0)},
    **{GPS.GPSLongitudeRef: "E", GPS.GPSLongitude: (4.0, 15.0, 36.0)},
}
IMAGE = {Base.Make: "Drawn", Base.Model: "Trap 1"}
EXPECTED = {
    "taken": datetime(2026, 5, 1, 5, 6, 7),
    "utc_offset": "+02:00",
    "camera": "Drawn Trap 1 A7",
    "latitude": -50.5,
    "longitude": pytest.approx(4.26),
}


def make_exif(image: dict, details: dict, gps: dict) -> bytes:
    exif = Image.Exif()
    exif.update(image)
    exif.get_ifd(ExifTags.IFD.Exif).update(details)
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    return exif.tobytes()


def encode(exif: bytes, format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(drawn.draw_bird(BIRD, 0, 32, 24)).save(buffer, format, exif=exif)
    return buffer.getvalue()


def read(image: dict | None = None, details: dict | None = None, gps: dict | None = None) -> dict:
    return read_exif(encode(make_exif(image or {}, details or {}, gps or {})))


@pytest.fixture(scope="module")
def whole_exif() -> bytes:
    return make_exif(IMAGE, TAKEN | {Base.BodySerialNumber: "A7"}, PLACE)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_time_place_and_camera_are_read_without_decoding_a_photo(format, whole_exif, monkeypatch):
    data = encode(whole_exif, format)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    assert read_exif(data) == EXPECTED


def test_exif_of_a_heic_is_read(whole_exif):
    assert read_exif(encode_heic(drawn.draw_bird(BIRD), exif=whole_exif)) == EXPECTED


def test_what_is_missing_is_none():
    assert read() == read_exif(encode(b"")) == read_exif(b"no photo") == NOTHING
    assert read({Base.Model: "Drawn Trap"}) == NOTHING | {"camera": "Drawn Trap"}
    assert read({Base.Make: "Drawn", Base.Model: "DRAWN 2"})["camera"] == "DRAWN 2"
    digitized = {Base.DateTimeDigitized: "2026:05:01 05:06:07", Base.OffsetTimeDigitized: "Z"}
    expected = {"taken": EXPECTED["taken"], "utc_offset": "+00:00"}
    assert read({Base.DateTime: "2026:05:02 00:00:00"}, digitized) == NOTHING | expected


@pytest.mark.parametrize(
    "time", ["2026:02:30 05:06:07", "0000:00:00 00:00:00", "    :  :     :  :  ", "now", ""]
)
def test_impossible_times_are_none(time):
    assert read(details={Base.DateTimeOriginal: time}) == NOTHING


@pytest.mark.parametrize("offset", ["+15:00", "+02:60", "02:00", "+2:00", "CET"])
def test_impossible_offsets_are_none(offset):
    values = read(details=TAKEN | {Base.OffsetTimeOriginal: offset})
    assert values == NOTHING | {"taken": EXPECTED["taken"]}


@pytest.mark.parametrize(
    "change",
    [
        {GPS.GPSLatitude: (91.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (50.0, 60.0, 0.0)},
        {GPS.GPSLatitude: (50.0, 30.0)},
        {GPS.GPSLatitudeRef: "?"},
        {GPS.GPSLatitudeRef: ""},
        {GPS.GPSLongitude: (180.0, 0.0, 1.0)},
        {GPS.GPSLatitude: (0.0, 0.0, 0.0), GPS.GPSLongitude: (0.0, 0.0, 0.0)},
    ],
)
def test_impossible_places_are_none(change):
    assert read(details=TAKEN, gps=PLACE | change)["latitude"] is None


def test_a_place_with_zero_denominators_is_none(whole_exif):
    rational = struct.pack(">II", 30, 1)
    damaged = whole_exif.replace(rational, bytes(8))
    damaged = damaged.replace(struct.pack("<II", 30, 1), bytes(8))
    assert damaged != whole_exif
    values = EXPECTED | {"latitude": None, "longitude": None}
    assert read_exif(encode(damaged)) == values


def test_texts_are_printable_and_short():
    camera = read({Base.Make: "Drawn\n\x1b[31m", Base.Model: "Trap\0rest " + "x" * 1000})["camera"]
    assert camera == "Drawn [31m Trap"
    assert len(read({Base.Model: "x" * 1000})["camera"]) == MAX_TEXT


def test_damaged_exif_never_raises_and_warns_of_nothing(whole_exif):
    generator = random.Random(0)
    seen = set()
    for _ in range(300):
        damaged = bytearray(whole_exif)
        for _ in range(generator.randint(1, 8)):
            damaged[generator.randrange(6, len(damaged))] = generator.randrange(256)
        end = generator.choice((generator.randint(10, len(damaged)), None))
        values = read_exif(encode(bytes(damaged[:end])))
        assert values.keys() == NOTHING.keys()
        seen |= {name for name, value in values.items() if value is not None}
    assert seen == set(EXIF_COLUMNS)


def test_exif_that_refers_to_itself_many_times_is_not_parsed():
    count = 6000
    entries = b"".join(struct.pack("<HHII", tag, 7, 60_000, 8) for tag in range(1, count))
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + entries
    assert len(exif) > MAX_EXIF
    assert read_exif(encode(exif, "PNG")) == NOTHING
