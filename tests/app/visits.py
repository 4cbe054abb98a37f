"""Drawn photos that a visitor picks, and what is looked at on the page."""

import io

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image, ImageOps

from birds import drawn

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
BOTH = pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
KEY = "a-secret-key"  # of the function, which the page's server sends


def drawn_bird(width=800, height=600, **options) -> bytes:
    """Return a JPEG of a bird in the middle."""
    bird = drawn.draw_bird("Blue_backed_Inkling", 0, width, height)
    return drawn.encode_photo(bird, quality=90, **options)


def drawn_birds(width: int, height: int, birds: list[tuple[float, float, float]]) -> bytes:
    """Return a JPEG of small birds on one sky.

    They are given by their centres as shares of width and height, and their sides as shares of the
    shorter side, as in `FakeFunction.birds`.
    """
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = np.linspace((120, 160, 205), (205, 220, 225), height)[:, None]
    for (x, y, share), name in zip(birds, list(drawn.SPECIES)[1:], strict=False):
        side = round(share * min(width, height))
        bird = drawn.draw_bird(name, 0, side, side)
        is_bird = (bird != bird[:, :1]).any(-1)  # the sky and the perch are the same in each column
        left, top = round(x * width - side / 2), round(y * height - side / 2)
        pixels[top : top + side, left : left + side][is_bird] = bird[is_bird]
    return drawn.encode_photo(pixels, quality=90)


def crop(photo: bytes, box=None) -> Image.Image:
    """Return a box of the upright photo, by default the largest centred square."""
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("RGB")
    width, height = upright.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return upright.crop(box or (left, top, left + side, top + side))


def mean_difference(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two pictures, in levels of 256."""
    small = [
        np.asarray(picture.convert("RGB").resize((128, 128)), float) for picture in (first, second)
    ]
    return float(np.abs(small[0] - small[1]).mean())


def photo_of(page):
    """Return the photo on the page."""
    return page.get_by_role("img", name="The photo you picked")


def last_photo(function) -> Image.Image:
    """Return what the function received last."""
    return Image.open(io.BytesIO(function.photos[-1]))


def drag(visitor, x: float, y: float, right: float, down: float):
    """Drag with the mouse from a point of the window."""
    mouse = visitor.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + right, y + down, steps=5)
    mouse.up()


def assert_accessible(visitor):
    """Assert that axe finds nothing wrong."""
    report = Axe().run(visitor.page)
    assert report.response["passes"]
    assert not report.violations_count, report.generate_report()
