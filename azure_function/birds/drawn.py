"""Draw birds: photos that anyone may show, for tests, for checks, and to learn the ropes on.

Only additions, multiplications and comparisons make the pixels, so they are the same on every
machine; Pillow merely packs them into files.
"""

import io
import random
from typing import NamedTuple

import numpy as np
from PIL import Image


class Species(NamedTuple):
    """The field marks of an invented bird: RGB colours, None for a mark that it lacks."""

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


def bird(name: str, seed: int = 0, width: int = 96, height: int = 96) -> np.ndarray:
    """Draw one bird of a species on a perch, uint8 [height, width, 3].

    Seed 0 sits in the middle; every other seed places, sizes, turns and lights it at random.
    """
    species, chance = SPECIES[name], random.Random(f"{name} {seed}")
    wander = (lambda reach: (chance.random() - 0.5) * reach) if seed else (lambda reach: 0.0)
    pixels = np.empty((height, width, 3), np.uint8)
    down, across = np.mgrid[:height, :width]
    unit = min(width, height) * (1 + wander(0.3))
    x = (across - width * (0.5 + wander(0.12))) / unit
    y = (down - height * (0.5 + wander(0.12))) / unit
    if seed and chance.random() < 0.5:
        x = -x

    def paint(where: np.ndarray, colour) -> None:
        pixels[where] = colour

    def ellipse(cx, cy, rx, ry, cosine=1.0, sine=0.0) -> np.ndarray:
        u = (x - cx) * cosine + (y - cy) * sine
        v = (y - cy) * cosine - (x - cx) * sine
        return (u / rx) * (u / rx) + (v / ry) * (v / ry) <= 1

    sky = np.array([150, 185, 215]) + [int(wander(60)) for _ in "rgb"]
    pixels[:] = (sky + 30 * (down / height)[..., None]).clip(0, 255)
    paint(abs(y - 0.33 - wander(0.04)) < 0.02, (95, 70, 50))  # perch
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


def encoded(pixels: np.ndarray | Image.Image, format: str = "JPEG", **options) -> bytes:
    """Pack pixels into the bytes of a photo file; options are those of Pillow's `save`."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, format, **options)
    return file.getvalue()


def rotated(orientation: int, pixels: np.ndarray) -> bytes:
    """Return a JPEG that a phone held at an EXIF orientation (1 to 8) would have written."""
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, 1)
    methods = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))  # EXIF -> Pillow
    image, exif = Image.fromarray(pixels), Image.Exif()
    if back in methods:
        image = image.transpose(Image.Transpose(methods[back]))
    exif[0x0112] = orientation
    return encoded(image, exif=exif.tobytes(), quality=95)


def awkward() -> dict[str, bytes]:
    """Return the eight photos by which any change in `photo.prepare` is seen, as files."""
    names = list(SPECIES)
    with_alpha = Image.fromarray(bird(names[3], 0, 160, 120)).convert("RGBA")
    with_alpha.putalpha(Image.linear_gradient("L").resize(with_alpha.size))
    large = bird(names[4], 0, 500, 375).repeat(8, 0).repeat(8, 1)
    return {
        "EXIF-rotated": rotated(6, bird(names[0], 0, 320, 240)),
        "grey": encoded(Image.fromarray(bird(names[1], 0, 240, 240)).convert("L")),
        "CMYK": encoded(Image.fromarray(bird(names[2], 0, 240, 200)).convert("CMYK")),
        "alpha": encoded(with_alpha, "PNG"),
        "12 megapixels": encoded(large, quality=85),
        "tall": encoded(bird(names[5], 0, 150, 450)),
        "wide": encoded(bird(names[0], 0, 450, 150), "WEBP", lossless=True),
        "tiny": encoded(bird(names[1], 0, 12, 9), "PNG"),
    }
