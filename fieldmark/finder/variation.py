"""Random changes of light, colour and sharpness of training photos."""

import io
import math

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
FLIP = Image.Transpose.FLIP_LEFT_RIGHT


def vary(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirror a photo at random, and change its light and colour a little."""
    if rng.random() < 0.5:
        photo = photo.transpose(FLIP)
    for enhancer in ENHANCERS:
        if rng.random() < 0.4:
            photo = enhancer(photo).enhance(rng.uniform(0.7, 1.35))
    return photo


def degrade(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur, grey or compress a photo at random, which also hides the seams of pasting."""
    if rng.random() < 0.25:
        photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    if rng.random() < 0.1:
        photo = photo.convert("L").convert("RGB")
    if rng.random() < 0.5:
        file = io.BytesIO()
        photo.save(file, "JPEG", quality=int(rng.integers(30, 95)))
        photo = Image.open(file).convert("RGB")
    return photo


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a random number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))
