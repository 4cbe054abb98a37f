"""Photos of many kinds, made in code and named by what they show."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
from PIL import Image

from birds import drawn

QUARTERS = np.zeros((64, 64, 3), np.uint8)
QUARTERS[:32, :32], QUARTERS[:32, 32:], QUARTERS[32:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encode_png(pixels, **options) -> bytes:
    return drawn.encode_photo(pixels, "PNG", **options)


def encode_heic(pixels, **options) -> bytes:
    """Encode a HEIC as phones do; Pillow and the function's own decoder cannot write one."""
    file = io.BytesIO()
    image = pillow_heif.from_pillow(Image.fromarray(pixels))
    image.save(file, **({"quality": 90} | options))
    return file.getvalue()


def in_mode(mode: str) -> Image.Image:
    return Image.fromarray(QUARTERS).convert(mode)


BIRD = drawn.encode_photo(drawn.draw_bird("Night_Inkling"))
PNG = encode_png(QUARTERS)
KINDS = {  # to the Pillow mode whose colours it keeps
    "grey": (encode_png(in_mode("L")), "L"),
    "grey with alpha": (encode_png(in_mode("LA")), "L"),
    "black and white": (encode_png(in_mode("1")), "1"),
    "RGBA": (encode_png(in_mode("RGBA")), "RGB"),
    "palette": (encode_png(in_mode("P")), "P"),
    "16-bit": (encode_png(np.asarray(in_mode("L")).astype(np.uint16) * 257), "L"),
    "WebP": (drawn.encode_photo(QUARTERS, "WEBP", lossless=True), "RGB"),
    "GIF": (drawn.encode_photo(in_mode("P"), "GIF"), "P"),
    "BMP": (drawn.encode_photo(QUARTERS, "BMP"), "RGB"),
}


def run_length_bmp() -> bytes:
    """Return a BMP of 64 x 64 pixels in runs, which Pillow decodes in Python."""
    header = b"BM" + bytes(8) + (14 + 40 + 1024).to_bytes(4, "little")
    header += struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, 0, 0, 0, 256, 0)
    return header + bytes(1024) + b"\x40\x01\x00\x00" * 64 + b"\x00\x01"


def jpeg_with_scans(count: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan `count` times."""
    data = drawn.encode_photo(QUARTERS, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def decompression_bomb() -> bytes:
    """Return a PNG of a few bytes that declares 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        content = kind + body
        return len(body).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)

    header = (60_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(99))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
