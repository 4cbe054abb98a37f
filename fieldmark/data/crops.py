"""Crop photos to the boxes around their birds, once, into a folder of photos."""

import hashlib
import io
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

from birds import drawn, photo
from fieldmark.data.parallel import map_threads
from fieldmark.errors import DatasetError
from fieldmark.files import write_bytes

BOX = ["box_x", "box_y", "box_width", "box_height"]
CROPS = Path("runs/crops")


def crop_to_boxes(
    photos: pd.DataFrame, folder: Path, crops: Path = CROPS
) -> tuple[Path, pd.DataFrame]:
    """Write the crop of each photo below `crops`; return that folder and the table without boxes.

    Paths stay the same. The folder's name is a hash of the photos and boxes, so a second call
    reuses the crops, and an interrupted one is completed. Raises DatasetError if there are no
    boxes.
    """
    if not set(BOX) <= set(photos.columns):
        raise DatasetError(f"{folder} has no bounding_boxes.txt. Set `crop: none`.")
    content = f"{folder.resolve()}\n{photos[['path', *BOX]].to_csv(index=False)}"
    out = crops / f"{folder.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    missing = [row for row in photos[["path", *BOX]].to_numpy() if not (out / row[0]).is_file()]
    map_threads(partial(write_crop, folder=folder, out=out), missing)
    return out, photos.drop(columns=BOX)


def write_crop(row: tuple, folder: Path, out: Path) -> None:
    """Write one crop; copy a photo that cannot be decoded, so that the survey reports it."""
    path, *box = row
    data = (folder / path).read_bytes()
    try:
        data = crop_square(data, box)
    except DatasetError as error:
        raise DatasetError(f"{folder / path}: {error}") from error
    except Exception:  # noqa: S110  decoders raise anything
        pass
    write_bytes(out / path, data)


def crop_square(data: bytes, box: tuple[float, float, float, float]) -> bytes:
    """Crop the square around a box (left, top, width, height) out of a photo; return a JPEG.

    A square, because `birds.photo.prepare` takes the centre square of a photo, which would cut a
    long box. It is moved into the photo and shortened to the photo's sides. Boxes count the pixels
    of the file, before the EXIF orientation is applied. Raises DatasetError for a box outside.
    """
    with Image.open(io.BytesIO(data), formats=photo.detect_formats(data)) as image:
        photo.check_pixels(image.width, image.height)
        left, top, width, height = box
        side = max(width, height)
        x0, x1 = fit_interval(left + width / 2, side, image.width)
        y0, y1 = fit_interval(top + height / 2, side, image.height)
        upright = photo.convert_to_rgb(photo.apply_orientation(image.crop((x0, y0, x1, y1))))
    return drawn.encode_photo(upright, quality=95, subsampling=0)


def fit_interval(middle: float, side: float, length: int) -> tuple[int, int]:
    """Return start and end of an interval of `side` pixels, moved to lie within 0 and `length`."""
    if not (0 <= middle < length and side >= 1):
        raise DatasetError(
            f"The box around pixel {middle:g} lies outside of {length} pixels. Correct "
            "bounding_boxes.txt, or set `crop: none`."
        )
    side = min(round(side), length)
    start = min(max(round(middle - side / 2), 0), length - side)
    return start, start + side
