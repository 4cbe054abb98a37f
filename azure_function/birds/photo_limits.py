"""Limits on photos, and the errors that say which one a photo exceeds."""

from PIL import ImageFile

from .errors import UserError
from .process import address_space_left

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
TOO_MANY_PIXELS = f"This photo has over {MAX_PIXELS // 10**6} megapixels. Send a smaller copy."
NEEDS_MEMORY = "This photo takes too much memory to decode. Send a smaller copy, or a plain JPEG."
TOO_SLOW = "This photo takes too much time to decode. Send a smaller copy, or a plain JPEG."
DAMAGED = "This photo is damaged or was cut short on its way. Save or send it again."
MAX_SCANS = 100  # of a progressive JPEG: cameras write ten, and each redraws the whole photo
BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2}  # of Pillow's modes; others take 4
WEBP_BYTES_PER_PIXEL = 16  # two canvases, the bytes of one, and Pillow's image


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


class CropOutsidePhoto(PhotoError):
    """The crop that was requested is not inside the photo."""


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


def check_memory(image: ImageFile.ImageFile, pixels: int, copies: int) -> None:
    """Raise PhotoNeedsMemory if decoding takes more address space than this process may use.

    `pixels` are those of the whole photo; `image` may be a smaller draft of it. `copies` are the
    bytes of what is made of the image while it is in memory.
    """
    needed = bytes_per_pixel(image) * image.width * image.height + copies
    if image.info.get("progressive"):
        needed += 2 * pixels * len(image.getbands())  # coefficients of 16 bits
    if needed > address_space_left():
        raise PhotoNeedsMemory(NEEDS_MEMORY)


def bytes_per_pixel(image: ImageFile.ImageFile) -> int:
    """Return the bytes of a pixel in the memory of Pillow."""
    return BYTES_PER_PIXEL.get(image.mode, 4)


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
