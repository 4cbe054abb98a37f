"""Turn the bytes of a photo into the pixels that the model sees: the only code that does."""

import io
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
HEIC = (b"heic", b"heix", b"mif1")  # the kinds that phones write, at bytes 8 to 12
SCANS = 100  # of a progressive JPEG; cameras write ten, and each is drawn over the whole photo
TURNS = dict(  # by EXIF orientation; 1 is upright
    enumerate(
        (
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ),
        start=2,
    )
)
FILTER = "bicubic"  # unless a model was trained with another


class PhotoError(ValueError):
    """A photo that gets no answer; the text tells its owner what to do."""


class EmptyPhoto(PhotoError):
    """There are no bytes at all."""


class NotAPhoto(PhotoError):
    """The bytes are of no photo format that can be read here."""


class DamagedPhoto(PhotoError):
    """The bytes begin like a photo and cannot be decoded to the end."""


class PhotoTooLarge(PhotoError):
    """More bytes or pixels than are taken in."""


class Photo(NamedTuple):
    """A prepared photo: uint8 [size, size, 3], and where in the upright photo it was cut out."""

    pixels: np.ndarray
    width: int
    height: int
    crop: tuple[int, int, int, int]


def prepare(data: bytes, size: int, filter: str = FILTER) -> np.ndarray:
    """Return the upright middle square of a photo as RGB, uint8 [size, size, 3].

    `filter` is the name of one of Pillow's, such as bicubic or bilinear, which all antialias.

    Raises PhotoError with a sentence for the owner of the photo.
    """
    return read(data, size, filter).pixels


def read(data: bytes, size: int, filter: str = FILTER) -> Photo:
    """Prepare a photo and keep its upright size and the crop (left, top, width, height), in pixels.

    Raises PhotoError with a sentence for the owner of the photo.
    """
    image, (width, height) = decode(data, size)
    left, top, side = square(image.width, image.height)
    middle = to_rgb(image.crop((left, top, left + side, top + side)))
    pixels = np.array(middle.resize((size, size), Image.Resampling[filter.upper()]))
    left, top, side = square(width, height)
    return Photo(pixels, width, height, (left, top, side, side))


def square(width: int, height: int) -> tuple[int, int, int]:
    """Return left, top and side of the largest centred square, in pixels."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


def decode(data: bytes, size: int) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a photo to an upright image of its own mode, with the full upright width and height.

    A JPEG with sides over twice `size` is decoded at 1/2, 1/4 or 1/8 of its scale, which is several
    times faster and leaves at least 2 x 2 pixels for each one that `read` makes.
    Raises PhotoError with a sentence for the owner of the photo.
    """
    check_bytes(len(data))
    formats = (read_heic(),) if data[8:12] in HEIC else FORMATS
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            check_pixels(image.width, image.height)
            check_work(image, data)
            width, height = image.size
            image.draft(None, (2 * size, 2 * size))
            image.load()
            upright = turned(image)
            if upright.size != image.size:
                width, height = height, width
            return upright, (width, height)
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise NotAPhoto(
            "This file is not a photo that can be read here. Send a JPEG, PNG, WebP, GIF or HEIC."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_many_pixels() from error
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise DamagedPhoto(
            "This photo is damaged or was cut short on its way. Save or send it once more."
        ) from error


@cache
def read_heic() -> str:
    """Let Pillow read HEIC, and return its name there; loaded when the first such photo comes."""
    import pi_heif

    pi_heif.register_heif_opener(decode_threads=1, thumbnails=False, aux_images=False)
    return "HEIF"


def turned(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says; damaged EXIF says nothing.

    Pillow's `exif_transpose` would also write the EXIF anew, which nobody reads here, and which a
    hostile one makes slow.
    """
    try:
        turn = TURNS.get(image.getexif().get(0x0112))
    except Exception:  # the pixels are good, whatever its parser stumbles over
        return image
    return image if turn is None else image.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB: 16-bit greys are scaled, transparency lies on white."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        on_white = Image.new("RGB", image.size, "white")
        on_white.paste(image, mask=image)
        return on_white
    return image.convert("RGB")


def check_bytes(count: int) -> None:
    """Raise EmptyPhoto or PhotoTooLarge for a body of so many bytes."""
    if not count:
        raise EmptyPhoto("No photo came with the request. Send the bytes of one photo as the body.")
    if count > MAX_BYTES:
        raise PhotoTooLarge(
            f"This photo has over {MAX_BYTES // 2**20} MiB. Send a smaller copy of it."
        )


def check_pixels(width: int, height: int) -> None:
    """Raise PhotoTooLarge for more pixels than are decoded here."""
    if width * height > MAX_PIXELS:
        raise too_many_pixels()


def check_work(image: Image.Image, data: bytes) -> None:
    """Raise DamagedPhoto for files that nobody's camera writes, made to be slow to decode.

    Thousands of scans in a JPEG, or runs in a BMP (decoded in Python), keep a CPU for minutes.
    """
    scans = data.count(b"\xff\xda") if image.info.get("progressive") else 0
    if scans > SCANS or any(tile.codec_name == "bmp_rle" for tile in image.tile):
        raise DamagedPhoto("This photo is packed in an unusual way. Save it as a plain JPEG.")


def too_many_pixels() -> PhotoTooLarge:
    """Say how many pixels are taken."""
    return PhotoTooLarge(
        f"This photo has over {MAX_PIXELS // 10**6} megapixels. Send a smaller copy of it."
    )
