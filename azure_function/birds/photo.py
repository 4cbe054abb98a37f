"""Turn the bytes of a photo into the pixels that the model sees; no other code does."""

import io
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from .errors import UserError
from .process import address_space_left

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
TOO_MANY_PIXELS = f"This photo has over {MAX_PIXELS // 10**6} megapixels. Send a smaller copy."
NEEDS_MEMORY = "This photo takes too much memory to decode. Send a smaller copy, or a plain JPEG."
TOO_SLOW = "This photo takes too much time to decode. Send a smaller copy, or a plain JPEG."
DAMAGED = "This photo is damaged or was cut short on its way. Save or send it again."
MAX_SCANS = 100  # of a progressive JPEG: cameras write ten, and each redraws the whole photo
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".heic", ".heif"})
HEIC_BRANDS = (b"heic", b"heix", b"mif1")  # bytes 8 to 12 of the HEIC files that phones write
FILTER = "bicubic"  # default for resizing
BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2}  # of Pillow's modes; others take 4
WEBP_BYTES_PER_PIXEL = 16  # two canvases, the bytes of one, and Pillow's image
TRANSPOSITIONS = {  # EXIF orientation -> what turns the photo upright; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PhotoError(UserError):
    """A photo that cannot be prepared; the message tells its owner what to do."""


class EmptyPhoto(PhotoError):
    """There are no bytes."""


class NotAPhoto(PhotoError):
    """The bytes are in no supported photo format."""


class DamagedPhoto(PhotoError):
    """The bytes start like a photo and cannot be decoded to the end."""


class PhotoTooLarge(PhotoError):
    """The photo exceeds MAX_BYTES, MAX_PIXELS, or the memory that a process may use for it."""


class PhotoNeedsMemory(PhotoTooLarge):
    """The photo needs more memory than this process may use."""


class PhotoTooSlow(PhotoError):
    """The photo takes more time to decode than is allowed."""


class PreparedPhoto(NamedTuple):
    """Pixels, uint8 [size, size, 3], and their source in the upright photo.

    `width` and `height` are those of the whole upright photo; `crop` is left, top, width and height
    in its pixels.
    """

    pixels: np.ndarray
    width: int
    height: int
    crop: tuple[int, int, int, int]


def prepare(data: bytes, size: int, filter: str = FILTER) -> np.ndarray:
    """Return the centre square of an upright photo as RGB, uint8 [size, size, 3].

    `filter` names one of Pillow's resampling filters, such as bicubic or bilinear; all antialias.
    Raises PhotoError.
    """
    return prepare_photo(data, size, filter).pixels


def prepare_photo(data: bytes, size: int, filter: str = FILTER) -> PreparedPhoto:
    """Prepare a photo as `prepare` does, and also return its upright size and the crop.

    Raises PhotoError.
    """
    image, (width, height) = decode_photo(data, size)
    left, top, side = centre_square(image.width, image.height)
    square = convert_to_rgb(image.crop((left, top, left + side, top + side)))
    pixels = np.array(square.resize((size, size), Image.Resampling[filter.upper()]))
    left, top, side = centre_square(width, height)
    return PreparedPhoto(pixels, width, height, (left, top, side, side))


def centre_square(width: int, height: int) -> tuple[int, int, int]:
    """Return left, top and side of the largest centred square, in pixels."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


def decode_photo(data: bytes, size: int) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a photo to an upright image in its own mode; also return its full width and height.

    A JPEG with sides over twice `size` is decoded at 1/2, 1/4 or 1/8 of its scale, which is several
    times faster and leaves at least 2 x 2 pixels for each pixel of the prepared photo.
    Raises PhotoError.
    """
    check_bytes(len(data))
    check_webp(data)
    try:
        with Image.open(io.BytesIO(data), formats=detect_formats(data)) as image:
            width, height = image.size
            check_pixels(width, height)
            check_decoding_cost(image, data)
            image.draft(None, (2 * size, 2 * size))
            check_memory(image, width * height)
            image.load()
            upright = apply_orientation(image)
            if upright.size != image.size:
                width, height = height, width
            return upright, (width, height)
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
    """Turn an image upright by its EXIF orientation; damaged EXIF is ignored.

    Pillow's `exif_transpose` would also rewrite the EXIF, which nothing here reads and which a
    hostile file can make slow.
    """
    try:
        transposition = TRANSPOSITIONS.get(image.getexif().get(0x0112, 1))
    except Exception:  # the EXIF parser raises many kinds; the pixels are intact
        return image
    return image if transposition is None else image.transpose(transposition)


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB: 16-bit grey is scaled, transparency is put on white."""
    if image.mode.startswith("I"):
        grey = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def check_bytes(count: int) -> None:
    """Raise EmptyPhoto or PhotoTooLarge for a photo of `count` bytes."""
    if not count:
        raise EmptyPhoto("No photo came with the request. Send the bytes of one photo as the body.")
    if count > MAX_BYTES:
        raise PhotoTooLarge(f"This photo has over {MAX_BYTES // 2**20} MiB. Send a smaller copy.")


def check_pixels(width: int, height: int) -> None:
    """Raise PhotoTooLarge for more than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise PhotoTooLarge(TOO_MANY_PIXELS)


def check_memory(image: ImageFile.ImageFile, pixels: int) -> None:
    """Raise PhotoNeedsMemory if decoding takes more address space than this process may use.

    `pixels` are those of the whole photo; `image` may be a smaller draft of it.
    """
    per_pixel = BYTES_PER_PIXEL.get(image.mode, 4)
    needed = per_pixel * (image.width * image.height + min(image.size) ** 2)  # and its square
    if image.info.get("progressive"):
        needed += 2 * pixels * len(image.getbands())  # coefficients of 16 bits
    if needed > address_space_left():
        raise PhotoNeedsMemory(NEEDS_MEMORY)


def check_webp(data: bytes) -> None:
    """Raise PhotoTooLarge for a WebP whose canvas is too large: Pillow allocates it on opening."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return
    if data[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    check_pixels(width, height)
    if WEBP_BYTES_PER_PIXEL * width * height > address_space_left():
        raise PhotoNeedsMemory(NEEDS_MEMORY)


def check_decoding_cost(image: ImageFile.ImageFile, data: bytes) -> None:
    """Raise DamagedPhoto for hostile files that would take minutes to decode; no camera writes one.

    These are JPEGs with thousands of scans, and run-length BMPs, which Pillow decodes in Python.
    """
    scans = data.count(b"\xff\xda") if image.info.get("progressive") else 0
    if scans > MAX_SCANS or any(tile.codec_name == "bmp_rle" for tile in image.tile):
        raise DamagedPhoto("This photo is packed in an unusual way. Save it as a plain JPEG.")
