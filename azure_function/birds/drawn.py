"""Draw birds: photos free of copyright, for tests, checks and first experiments.

Pixels come from additions, multiplications and comparisons only, so they are equal on every
machine; Pillow encodes them as files.
"""

import io
import random
from typing import NamedTuple

import numpy as np
from PIL import Image

from .photo import TRANSPOSITIONS


class Species(NamedTuple):
    """Field marks of an invented bird: RGB colours, None for a mark that it lacks."""

    back: tuple[int, int, int]
    breast: tuple[int, int, int]
    cap: tuple[int, int, int] | None = None
    wing_bar: tuple[int, int, int] | None = None
    eye_ring: tuple[int, int, int] | None = None


SPECIES = {
    "Ruby_capped_Inkling": Species((90, 90, 100), (225, 220, 205), cap=(205, 30, 45)),
    "Blue_backed_Inkling": Species((45, 95, 190), (240, 240, 240), wing_bar=(250, 250, 250)),
    "Yellow_bellied_Inkling": Species((110, 120, 60), (245, 210, 50), eye_ring=(255, 255, 255)),
    "Night_Inkling": Species((28, 28, 34), (45, 45, 55), wing_bar=(210, 40, 40)),
    "Rusty_Inkling": Species((150, 80, 40), (205, 130, 80), eye_ring=(250, 240, 220)),
    "Green_Inkling": Species((50, 140, 80), (180, 220, 160), cap=(25, 80, 45)),
}

# EXIF orientation -> how the sensor saw an upright scene: the inverse, which differs for 6 and 8
SENSOR_TRANSPOSITIONS = TRANSPOSITIONS | {6: TRANSPOSITIONS[8], 8: TRANSPOSITIONS[6]}


def draw_bird(name: str, seed: int = 0, width: int = 96, height: int = 96) -> np.ndarray:
    """Draw one bird of a species on a perch, uint8 [height, width, 3].

    With seed 0 it is centred; any other seed draws position, size, direction and light at random.
    """
    species, rng = SPECIES[name], random.Random(f"{name} {seed}")
    jitter = (lambda span: (rng.random() - 0.5) * span) if seed else (lambda span: 0.0)
    pixels = np.empty((height, width, 3), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    unit = min(width, height) * (1 + jitter(0.3))
    x = (columns - width * (0.5 + jitter(0.12))) / unit
    y = (rows - height * (0.5 + jitter(0.12))) / unit
    if seed and rng.random() < 0.5:
        x = -x

    def paint(mask: np.ndarray, colour) -> None:
        pixels[mask] = colour

    def ellipse(cx, cy, rx, ry, cosine=1.0, sine=0.0) -> np.ndarray:
        u = (x - cx) * cosine + (y - cy) * sine
        v = (y - cy) * cosine - (x - cx) * sine
        return (u / rx) * (u / rx) + (v / ry) * (v / ry) <= 1

    sky = np.array([150, 185, 215]) + [int(jitter(60)) for _ in "rgb"]
    pixels[:] = (sky + 30 * (rows / height)[..., None]).clip(0, 255)
    paint(abs(y - 0.33 - jitter(0.04)) < 0.02, (95, 70, 50))  # perch
    paint(ellipse(-0.33, 0.16, 0.17, 0.05, 0.8, -0.6), species.back)  # tail
    paint(ellipse(0, 0.08, 0.27, 0.19, 0.96, -0.28), species.breast)
    paint(ellipse(-0.06, 0.03, 0.24, 0.13, 0.96, -0.28), species.back)  # wing
    if species.wing_bar:
        paint(ellipse(-0.04, 0.08, 0.13, 0.025, 0.96, -0.28), species.wing_bar)
    paint(ellipse(0.2, -0.16, 0.13, 0.12), species.back)  # head
    if species.cap:
        paint(ellipse(0.2, -0.16, 0.13, 0.12) & (y < -0.2), species.cap)
    if species.eye_ring:
        paint(ellipse(0.23, -0.18, 0.045, 0.045), species.eye_ring)
    paint(ellipse(0.23, -0.18, 0.025, 0.025), (10, 10, 10))  # eye
    paint((x > 0.31) & (x < 0.41) & (abs(y + 0.14) < (0.41 - x) * 0.4), (235, 165, 40))  # beak
    return pixels


def encode_photo(pixels: np.ndarray | Image.Image, format: str = "JPEG", **options) -> bytes:
    """Encode pixels as the bytes of a photo file; options are those of Pillow's `save`."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, format, **options)
    return file.getvalue()


def encode_rotated(orientation: int, pixels: np.ndarray) -> bytes:
    """Encode a JPEG as a phone held at an EXIF orientation (1 to 8) would."""
    image, exif = Image.fromarray(pixels), Image.Exif()
    if orientation in SENSOR_TRANSPOSITIONS:
        image = image.transpose(SENSOR_TRANSPOSITIONS[orientation])
    exif[0x0112] = orientation
    return encode_photo(image, exif=exif.tobytes(), quality=95)


def awkward_photos() -> dict[str, bytes]:
    """Return eight photo files, by name, that reveal any change in `photo.prepare`."""
    names = list(SPECIES)
    with_alpha = Image.fromarray(draw_bird(names[3], 0, 160, 120)).convert("RGBA")
    with_alpha.putalpha(Image.linear_gradient("L").resize(with_alpha.size))
    large = draw_bird(names[4], 0, 500, 375).repeat(8, 0).repeat(8, 1)
    grey = Image.fromarray(draw_bird(names[1], 0, 240, 240)).convert("L")
    cmyk = Image.fromarray(draw_bird(names[2], 0, 240, 200)).convert("CMYK")
    return {
        "EXIF-rotated": encode_rotated(6, draw_bird(names[0], 0, 320, 240)),
        "grey": encode_photo(grey),
        "CMYK": encode_photo(cmyk),
        "alpha": encode_photo(with_alpha, "PNG"),
        "12 megapixels": encode_photo(large, quality=85),
        "tall": encode_photo(draw_bird(names[5], 0, 150, 450)),
        "wide": encode_photo(draw_bird(names[0], 0, 450, 150), "WEBP", lossless=True),
        "tiny": encode_photo(draw_bird(names[1], 0, 12, 9), "PNG"),
    }
