"""The input of a finder: its shape, photos that the gate looks at, and what they should become."""

import hashlib
import io

import numpy as np
import torch
from PIL import Image, ImageOps

from birds.drawn import awkward_photos
from birds.photo import decode_upright
from fieldmark.finder.dataset import MULTIPLE, SceneDataset, round_side


def held_out_photos(scenes: SceneDataset, start: int, count: int) -> dict[str, bytes]:
    """Return held-out scenes as files, by name: PNG and JPEG, in their size and enlarged."""
    photos = {}
    for number in range(start, start + count):
        image, file = Image.fromarray(scenes.scene(number)[0]), io.BytesIO()
        if number % 3 == 0:
            image = image.resize((image.width * 5, image.height * 5 - 37))
        image.save(file, "PNG" if number % 2 else "JPEG")
        photos[f"scene {number}"] = file.getvalue()
    return photos


def prepare_reference(data: bytes, size: int) -> np.ndarray:
    """Return a photo as the network was trained to see it: plainly decoded, and resized once."""
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright.convert("RGBA"))
    scale = size / max(upright.size)
    width, height = (round_side(side * scale) for side in upright.size)
    return np.asarray(upright.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))


def fingerprints(size: int) -> dict[str, str]:
    """Return the SHA-256 of the finder's input for each of the eight awkward drawn photos."""
    photos = awkward_photos().items()
    inputs = {name: np.asarray(decode_upright(data, size).finder_pixels) for name, data in photos}
    return {name: hashlib.sha256(pixels.tobytes()).hexdigest() for name, pixels in inputs.items()}


def example_input() -> tuple[torch.Tensor, dict]:
    """Return an input [N, H, W, 3], and its free axes: any N, and H and W multiples of 32."""
    # 32 times a whole number, as torch writes it; both have a lower limit of three
    rows, columns = (torch.export.Dim(name, min=3, max=1024) for name in ("rows", "columns"))
    photo = torch.zeros(2, 3 * MULTIPLE, 4 * MULTIPLE, 3, dtype=torch.uint8)
    return photo, {0: torch.export.Dim("N"), 1: MULTIPLE * rows, 2: MULTIPLE * columns}
