"""Read when, where and with which camera a photo was taken from its EXIF."""

import math
import re
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

from birds.photo import open_photo
from fieldmark.bulk.rows import EXIF_COLUMNS

warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")  # they quote damaged EXIF
MAX_EXIF = 2**16  # bytes, as in a JPEG; the parser copies up to the square of it
MAX_TEXT = 80  # characters of a camera's make, model or serial number
DATE_FORMAT = "%Y:%m:%d %H:%M:%S"
TIMES = (  # not DateTime, which programs that edit photos set
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.OffsetTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.OffsetTimeDigitized),
)


def read_exif(data: bytes) -> dict[str, Any]:
    """Return EXIF_COLUMNS of the bytes of a photo, without decoding its pixels; never raises.

    `taken` is a datetime without a time zone, `utc_offset` a text such as +02:00, `camera` its
    make, model and serial number, `latitude` and `longitude` are in degrees. What is missing,
    damaged or impossible is None.
    """
    values: dict[str, Any] = dict.fromkeys(EXIF_COLUMNS)
    try:
        with open_photo(data) as image:
            if len(image.info.get("exif", b"")) > MAX_EXIF:
                return values
            exif = Image.Image.getexif(image)  # that of the class for PNG decodes the photo
    except Exception:  # the photo itself is damaged, which its row reports
        return values
    for read in (read_time, read_camera, read_place):
        values |= read_or_nothing(read, exif)
    return values


def read_or_nothing(read: Callable[[Image.Exif], dict], exif: Image.Exif) -> dict:
    """Return what a function reads, {} if the EXIF is damaged there."""
    try:
        return read(exif)
    except Exception:  # the parser raises anything, from TypeError to struct.error
        return {}


def read_time(exif: Image.Exif) -> dict:
    """Return `taken` and `utc_offset` of the time at which the photo was taken or digitized."""
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for time_tag, offset_tag in TIMES:
        if taken := parse_time(details.get(time_tag)):
            return {"taken": taken, "utc_offset": parse_offset(details.get(offset_tag))}
    return {}


def parse_time(value: Any) -> datetime | None:
    """Return an EXIF time, None if it is not one."""
    try:
        return datetime.strptime(clean(value), DATE_FORMAT)
    except ValueError:
        return None


def parse_offset(value: Any) -> str | None:
    """Return an EXIF offset from UTC, such as +02:00, None if it is not one."""
    text = clean(value)
    if text == "Z":
        return "+00:00"
    match = re.fullmatch(r"[+-](\d\d):([0-5]\d)", text, re.ASCII)
    return text if match and int(match[1]) <= 14 else None


def read_camera(exif: Image.Exif) -> dict:
    """Return `camera`: make, unless the model repeats it, model, and serial number."""
    make, model = clean(exif.get(ExifTags.Base.Make)), clean(exif.get(ExifTags.Base.Model))
    serial = clean(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.BodySerialNumber))
    parts = ["" if model.lower().startswith(make.lower()) else make, model, serial]
    return {"camera": " ".join(filter(None, parts)) or None}


def read_place(exif: Image.Exif) -> dict:
    """Return `latitude` and `longitude`, {} unless both are on Earth.

    Exactly 0, 0, which is in the sea, is what some cameras write without a position.
    """
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    latitude = read_degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS")
    longitude = read_degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW")
    valid = abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude or longitude)
    return {"latitude": latitude, "longitude": longitude} if valid else {}


def read_degrees(gps: Mapping[int, Any], tag: int, direction_tag: int, directions: str) -> float:
    """Return degrees, minutes and seconds as degrees, NaN if they are not valid.

    `directions` are the letters of the positive and the negative direction.
    """
    degrees, minutes, seconds = (float(part) for part in gps[tag])
    direction = directions.find(clean(gps[direction_tag]).upper() or "?")
    valid = direction >= 0 and degrees >= 0 and 0 <= minutes < 60 and 0 <= seconds <= 60
    return (degrees + minutes / 60 + seconds / 3600) * (1, -1)[direction] if valid else math.nan


def clean(value: Any) -> str:
    """Return a text of EXIF in printable characters with single spaces, "" if it is none."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return ""
    printable = "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT].split("\0")[0])
    return " ".join(printable.split())
