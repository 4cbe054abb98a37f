"""Photos that cost far more to decode than their bytes show, made in code; and honest large ones.

Each function returns the bytes of one file. `scale` is the share of the full size: tests use small
ones of the same construction.
"""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pillow_heif
from PIL import Image

from birds import drawn

SIDE = 7000  # pixels: 49 megapixels
PADDING = 20 * 2**20 - 100_000  # bytes
BIRD = drawn.draw_bird("Night_Inkling", 0, 240, 240)


def lossless_webp(scale: float = 1) -> bytes:
    """Return a WebP of one colour, of 34 bytes: its canvas is allocated before it is decoded."""
    side = int(SIDE * scale)
    bits, length = (side - 1) | (side - 1) << 14, 32
    length += 3  # neither transforms nor a colour cache nor groups of codes
    for _ in range(5):  # codes of one symbol, which take no bits
        bits |= 1 << length
        length += 4
    stream = b"\x2f" + bits.to_bytes(-(-length // 8), "little")
    stream += bytes(14 - len(stream))
    chunk = b"VP8L" + struct.pack("<I", len(stream)) + stream
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def split_jpeg(data: bytes, side: int) -> tuple[bytes, bytes]:
    """Return a JPEG's segments before its first scan, for `side` pixels, and the rest."""
    at = 2
    while data[at : at + 2] != b"\xff\xda":
        if data[at + 1] in (0xC0, 0xC2):
            data = data[: at + 5] + struct.pack(">HH", side, side) + data[at + 9 :]
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return data[:at], data[at:]


def empty_scans(side: int = 7071, count: int = 1000) -> bytes:
    """Return a baseline JPEG with `count` scans that contain nothing."""
    head, _ = split_jpeg(drawn.encode_photo(BIRD), side)
    scans = [bytes((0xFF, 0xDA, 0, 8, 1, n, 0x11 * (n > 1), 0, 63, 0)) for n in (1, 2, 3)]
    return head + b"".join(scans[number % 3] for number in range(count)) + b"\xff\xd9"


def progressive_scans(scale: float = 1, count: int = 60) -> bytes:
    """Return a progressive JPEG of 50 megapixels that repeats its last scan."""
    pixels = noisy_bird(int(8160 * scale), int(6120 * scale))
    data = drawn.encode_photo(pixels, quality=50, progressive=True)
    last = data.rindex(b"\xff\xda")
    repeats = min(count, (PADDING - last) // (len(data) - 2 - last))
    return data[:last] + data[last:-2] * repeats + data[-2:]


def pad_jpeg(piece: bytes) -> Callable[[float], bytes]:
    """Return a function that makes a JPEG with a piece repeated after its start."""

    def make_jpeg(scale: float = 1) -> bytes:
        data = drawn.encode_photo(BIRD)
        return data[:2] + piece * int(PADDING * scale / len(piece)) + data[2:]

    return make_jpeg


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def pad_png(kind: bytes, content: bytes = b"") -> Callable[[float], bytes]:
    """Return a function that makes a PNG with a chunk repeated before its pixels."""

    def make_png(scale: float = 1) -> bytes:
        data, chunk = drawn.encode_photo(BIRD, "PNG"), png_chunk(kind, content)
        return data[:33] + chunk * int(PADDING * scale / len(chunk)) + data[33:]

    return make_png


def pad_gif(scale: float = 1) -> bytes:
    """Return a GIF with a comment repeated before its pixels."""
    data, comment = drawn.encode_photo(Image.fromarray(BIRD).convert("P"), "GIF"), b"!\xfe\x01a\0"
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:at] + comment * int(PADDING * scale / len(comment)) + data[at:]


def noisy_bird(width: int, height: int, amplitude: int = 6) -> np.ndarray:
    """Draw a bird with noise like a camera's, uint8 [height, width, 3]."""
    small = drawn.draw_bird("Night_Inkling", 0, max(8, width // 8), max(8, height // 8))
    large = small.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.int16)
    noise = np.random.default_rng(0).integers(-amplitude, amplitude + 1, large.shape, np.int16)
    return (large + noise).clip(0, 255).astype(np.uint8)


def encode_heic(pixels: np.ndarray, quality: int, **options) -> bytes:
    """Encode a HEIC as phones do."""
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(file, quality=quality, **options)
    return file.getvalue()


def noise_heic(scale: float = 1) -> bytes:
    """Return a HEIC of noise, about 9 MB."""
    side = int(2400 * scale)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return encode_heic(pixels, 80, enc_params={"preset": "ultrafast"})


def large_png(scale: float = 1) -> bytes:
    """Return a PNG of 50 megapixels."""
    pixels = noisy_bird(int(8160 * scale), int(6120 * scale), 1)
    return drawn.encode_photo(pixels // 16 * 16, "PNG", compress_level=1)


HOSTILE: dict[str, Callable[..., bytes]] = {
    "34-byte WebP, lossless, 7000 x 7000": lossless_webp,
    "baseline JPEG, 1,000 empty scans": lambda scale=1: empty_scans(int(7071 * scale)),
    "baseline JPEG, 2,000,000 empty scans": lambda scale=1: empty_scans(
        2000, int(2_000_000 * scale)
    ),
    "progressive JPEG, 50 megapixels, 60 scans": progressive_scans,
    "JPEG, 20 MiB of 0xFF": pad_jpeg(b"\xff"),
    "JPEG, 20 MiB of empty comments": pad_jpeg(b"\xff\xfe\x00\x02"),
    "PNG, 1.7 million empty chunks": pad_png(b"teSt"),
    "PNG, 1.7 million empty IDAT": pad_png(b"IDAT"),
    "PNG, 20 MiB of tEXt": pad_png(b"tEXt", b"a\0b"),
    "GIF, 20 MiB of comments": pad_gif,
    "HEIC of noise": noise_heic,
    "PNG, 50 megapixels": large_png,
}
HONEST: dict[str, Callable[..., bytes]] = {
    "JPEG, 50 megapixels": lambda: drawn.encode_photo(noisy_bird(8160, 6120), quality=80),
    "HEIC, 48 megapixels": lambda: encode_heic(noisy_bird(8064, 6048), 50),
    "PNG, 24 megapixels": lambda: drawn.encode_photo(noisy_bird(6000, 4000, 1) // 2 * 2, "PNG"),
}
