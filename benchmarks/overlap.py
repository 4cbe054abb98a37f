"""List the whole photos of birds whose crop is among a model's photos, which must not measure it.

    python -m benchmarks.overlap WHOLE CROPS [--finder finder.onnx] [--out benchmarks/overlap.csv]

Both are folders with one folder a species. Around the boxes of a finder the rectangle of each whole
photo is searched whose pixels, squeezed to a square as the crops are, correlate most with a crop of
the species. The list has file names without their endings, and correlations.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from PIL import Image

from benchmarks.results import MODEL
from birds.finder import Finder
from birds.photo import decode_upright
from fieldmark.data.parallel import map_threads

LIST = Path(__file__).with_name("overlap.csv")
SAME = 0.9  # correlation of the pixels of one photo; those of others reach 0.88
COARSE, FINE = 24, 48  # pixels of a side that are compared
BOXES, CROPS = 4, 4  # boxes of a photo, and crops, whose rectangles are improved
FIRST_STEPS = (0.1, 0.25)  # shares of a rectangle's sides that its corners move by, and the last
LAST_STEP = 0.004
Rectangle = tuple[float, float, float, float]  # left, top, width and height


def main(
    whole: Annotated[Path, typer.Argument(help="Whole photos, one folder a species.")],
    crops: Annotated[Path, typer.Argument(help="Crops, one folder a species.")],
    finder: Path = MODEL / "finder.onnx",
    out: Path = LIST,
) -> None:
    """Write the list."""
    loaded, photos = Finder(finder), sorted(whole.glob("*/*.jpg"))
    found = map_threads(partial(find_crop, finder=loaded, crops=crops), photos)
    columns = {"photo": [photo.stem for photo in photos]}
    table = pd.DataFrame(found, columns=["crop", "correlation"]).assign(**columns)
    listed = table[table["correlation"] > SAME].sort_values("photo")
    listed = listed[["photo", "crop", "correlation"]]
    listed.to_csv(out, index=False, float_format="%.3f", lineterminator="\n")
    others = table["correlation"][table["correlation"] <= SAME].max()
    typer.echo(f"{len(listed)} of {len(table)} photos are in {out}; others reach {others:.2f}.")


def find_crop(photo: Path, finder: Finder, crops: Path) -> tuple[str, float]:
    """Return the crop of the same species that is most like a part of a photo, and how much."""
    decoded = decode_upright(photo.read_bytes(), finder.size, finder.filter)
    image = Image.fromarray(decoded.pixels).convert("L")
    scale = image.width / decoded.width
    boxes: list[Rectangle] = [(0, 0, image.width, image.height)]
    for left, top, width, height, _ in finder.find(decoded)[:BOXES]:
        boxes.append((scale * left, scale * top, scale * width, scale * height))
    pairs = itertools.product(boxes, FIRST_STEPS)
    rectangles = [near for box, step in pairs for near in move_corners(box, step)]
    patches = np.stack([cut_patch(image, rectangle, COARSE) for rectangle in rectangles])
    files = sorted((crops / photo.parent.name).glob("*.jpg"))
    images = [Image.open(file).convert("L") for file in files]
    whole = [(0, 0, crop.width, crop.height) for crop in images]
    coarse = np.stack([cut_patch(*pair, COARSE) for pair in zip(images, whole, strict=True)])
    likeness = patches @ coarse.T
    best = ("", -1.0)
    for crop in likeness.max(0).argsort()[::-1][:CROPS]:
        target = cut_patch(images[crop], whole[crop], FINE)
        start = rectangles[likeness[:, crop].argmax()]
        correlation = improve(start, lambda r, t=target: float(cut_patch(image, r, FINE) @ t))
        best = max(best, (files[crop].stem, correlation), key=lambda pair: pair[1])
    return best


def improve(rectangle: Rectangle, score: Callable[[Rectangle], float]) -> float:
    """Return the best score that moving the corners of a rectangle leads to."""
    best, step = score(rectangle), FIRST_STEPS[0]
    while step > LAST_STEP:
        near = max(move_corners(rectangle, step), key=score)
        if (value := score(near)) > best:
            best, rectangle = value, near
        else:
            step /= 2
    return best


def move_corners(rectangle: Rectangle, step: float) -> Iterator[Rectangle]:
    """Yield rectangles whose sides are moved by a share of its own, outwards and inwards."""
    left, top, width, height = rectangle
    for x0, y0, x1, y1 in itertools.product((-step, 0, step), repeat=4):
        yield left + x0 * width, top + y0 * height, width * (1 + x1 - x0), height * (1 + y1 - y0)


def cut_patch(image: Image.Image, rectangle: Rectangle, side: int) -> np.ndarray:
    """Return the pixels of a rectangle as a unit vector without its mean."""
    left, top, width, height = rectangle
    box = max(0, left), max(0, top), min(image.width, left + width), min(image.height, top + height)
    options = {"box": box, "reducing_gap": 2.0}
    patch = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, **options), np.float32)
    centred = patch.ravel() - patch.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


if __name__ == "__main__":
    typer.run(main)
