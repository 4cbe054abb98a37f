"""Decode the bytes of a photo to an upright image, reduced where that saves time and memory."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from .photo_limits import (
    DAMAGED,
    NEEDS_MEMORY,
    TOO_MANY_PIXELS,
    DamagedPhoto,
    NotAPhoto,
    PhotoError,
    PhotoNeedsMemory,
    PhotoTooLarge,
    bytes_per_pixel,
    check_bytes,
    check_decoding_cost,
    check_memory,
    check_pixels,
    check_webp,
)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".heic", ".heif"})
HEIC_BRANDS = (b"heic", b"heix", b"mif1")  # bytes 8 to 12 of the HEIC files that phones write
MIN_SIDE = 1000  # pixels of the shorter side that a reduced photo keeps, if it has them
MAX_REDUCED = 4_000_000  # pixels of a reduced photo, of which each in flight takes 12 MB
STRIP = 2**20  # pixels that are converted at a time
TRANSPOSITIONS = {  # EXIF orientation -> what turns the photo upright; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAPPED = 5  # from this EXIF orientation on, the upright photo has its sides swapped


@contextmanager
def open_photo(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open a photo, checked but not yet decoded; errors of decoders become PhotoErrors."""
    check_bytes(len(data))
    check_webp(data)
    try:
        with Image.open(io.BytesIO(data), formats=detect_formats(data)) as image:
            check_pixels(*image.size)
            check_decoding_cost(image, data)
            yield image
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoNeedsMemory(NEEDS_MEMORY) from error
    except UnidentifiedImageError as error:
        raise NotAPhoto(
            "This file is not a photo that can be read here. Send a JPEG, PNG, WebP, GIF or HEIC."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoTooLarge(TOO_MANY_PIXELS) from error
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise DamagedPhoto(DAMAGED) from error


def decode_photo(data: bytes, size: int) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a photo to an upright image in its own mode; also return its full width and height.

    A JPEG with sides over twice `size` is decoded at 1/2, 1/4 or 1/8 of its scale, which is several
    times faster and leaves at least 2 x 2 pixels for each pixel of the prepared photo.
    Raises PhotoError.
    """
    with open_photo(data) as image:
        width, height = image.size
        image.draft(None, (2 * size, 2 * size))
        square = bytes_per_pixel(image) * min(image.size) ** 2
        check_memory(image, width * height, square)
        image.load()
        orientation = read_orientation(image)
        if orientation >= SWAPPED:
            width, height = height, width
        return turn(image, orientation), (width, height)


def reducing_factor(width: int, height: int) -> int:
    """Return by how much both sides of a photo are divided: see `decode_upright`."""
    factor = max(1, min(width, height) // MIN_SIDE)
    while -(-width // factor) * -(-height // factor) > MAX_REDUCED:  # partial squares count
        factor += 1
    return factor


def reduce_to_rgb(image: Image.Image, factor: int) -> Image.Image:
    """Convert an image to RGB and average its squares of `factor` pixels a side, in strips."""
    if factor == 1 and image.mode == "RGB" and not image.has_transparency_data:
        return image
    reduced = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    rows = factor * max(1, STRIP // (image.width * factor))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        reduced.paste(convert_to_bytes(strip).reduce(factor), (0, top // factor))
    return reduced


def is_plain_jpeg(data: bytes) -> bool:
    """Return whether a photo is a JPEG that any process may decode: not progressive.

    The memory and time that it takes are bounded by its pixels. Cameras write such files.
    """
    if data[:2] != b"\xff\xd8":
        return False
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return not image.info.get("progressive")
    except Exception:  # decoders raise anything from SyntaxError to struct.error
        return False


def detect_formats(data: bytes) -> tuple[str, ...]:
    """Return the formats that Pillow may decode a photo as."""
    return (register_heic(),) if data[8:12] in HEIC_BRANDS else FORMATS


@cache
def register_heic() -> str:
    """Register the HEIC decoder with Pillow when the first such photo comes; return its format."""
    import pi_heif

    pi_heif.register_heif_opener(decode_threads=1, thumbnails=False, aux_images=False)
    return "HEIF"


def apply_orientation(image: Image.Image) -> Image.Image:
    """Turn an image upright by its EXIF orientation.

    Pillow's `exif_transpose` would also rewrite the EXIF, which nothing here reads and which a
    hostile file can make slow.
    """
    return turn(image, read_orientation(image))


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) if it is missing or damaged; 5 to 8 swap sides."""
    try:
        orientation = image.getexif().get(0x0112, 1)
        return orientation if orientation in TRANSPOSITIONS else 1
    except Exception:  # the EXIF parser raises many kinds; the pixels are intact
        return 1


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image upright that was taken at an EXIF orientation."""
    return image if orientation == 1 else image.transpose(TRANSPOSITIONS[orientation])


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB: 16-bit grey is scaled, transparency is put on white."""
    image = convert_to_bytes(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def convert_to_bytes(image: Image.Image) -> Image.Image:
    """Convert as `convert_to_rgb`, but grey to L, which takes a third of the time to resize."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
