"""Crop photos to the box around the bird, once, into a folder of photos like any other."""

import contextlib
import hashlib
import io
from pathlib import Path

import pandas as pd
from PIL import Image

from birds import photo
from fieldmark.data.locations import PhotosError
from fieldmark.data.parallel import each

BOX = ["box_x", "box_y", "box_width", "box_height"]
CROPS = Path("runs/crops")


def cropped(photos: pd.DataFrame, folder: Path, crops: Path = CROPS) -> tuple[Path, pd.DataFrame]:
    """Write each photo's box into a folder of its own; return that, and the table without boxes.

    Paths stay the same. The folder in `crops` is named by what is cropped, so a second call finds
    it done, and one that was stopped goes on. Raises PhotosError where there are no boxes.
    """
    if not set(BOX) <= set(photos.columns):
        raise PhotosError(f"{folder} has no bounding_boxes.txt. Set `crop_to_box: false`.")
    what = f"{folder.resolve()}\n{photos[['path', *BOX]].to_csv(index=False)}"
    out = crops / f"{folder.name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
    todo = [row for row in photos[["path", *BOX]].to_numpy() if not (out / row[0]).is_file()]
    each(write, todo, folder=folder, out=out)
    return out, photos.drop(columns=BOX)


def write(row: tuple, folder: Path, out: Path) -> None:
    """Write one crop; a photo that can't be cropped is copied, for the survey to report it."""
    path, *box = row
    data = (folder / path).read_bytes()
    with contextlib.suppress(Exception):  # of any kind: a decoder's, or a box that is none
        data = cut(data, box)
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    part = out / f"{path}.part"  # whoever is stopped here leaves no half of a photo
    part.write_bytes(data)
    part.replace(out / path)


def cut(data: bytes, box: tuple[float, float, float, float]) -> bytes:
    """Cut the square around a box (left, top, width, height) out of a photo, upright, as a JPEG.

    A square, because the function looks at the middle square of a photo, and of a long bird's box
    that would be its belly. It is moved into the photo, and ends where the photo ends. Boxes
    count the pixels of the file, as data sets draw them, before EXIF turns it.
    Raises ValueError where the box lies outside.
    """
    with Image.open(io.BytesIO(data), formats=photo.FORMATS) as image:
        photo.check_pixels(image.width, image.height)
        left, top, width, height = box
        side = max(width, height)
        x0, x1 = within(left + width / 2, side, image.width)
        y0, y1 = within(top + height / 2, side, image.height)
        upright = photo.convert_to_rgb(photo.apply_orientation(image.crop((x0, y0, x1, y1))))
    file = io.BytesIO()
    upright.save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def within(middle: float, side: float, length: int) -> tuple[int, int]:
    """Return where a square begins and ends along a side of the photo, moved into it."""
    if not (0 <= middle < length and side >= 1):
        raise ValueError(f"A box around {middle} lies outside of {length} pixels.")
    side = min(round(side), length)
    begin = min(max(round(middle - side / 2), 0), length - side)
    return begin, begin + side
