"""Crop whole photos to the birds that the finder finds, once, into a folder of photos."""

import hashlib
import io
import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
from PIL import Image

from birds import drawn
from birds.crops import MARGIN, overlap, propose_crops
from birds.decoding import detect_formats, read_orientation
from birds.finder import SHIPPED_FINDER, Finder
from birds.photo import DecodedPhoto, PhotoError, decode_upright, scale_interval
from birds.workers.decoder import job_decoder
from fieldmark.data.crops import BOX, CROPS
from fieldmark.data.parallel import map_threads
from fieldmark.files import write_bytes, write_text
from fieldmark.statistics import bootstrap_interval, wilson_interval

VARIABLE = "FIELDMARK_FINDER"
TABLE = "crops.csv"  # in the folder of the crops
SQUARE = ["crop_left", "crop_top", "crop_side"]
FOUND = ["found_left", "found_top", "found_width", "found_height"]
COLUMNS = ["path", "width", "height", "source", "score", "birds", *SQUARE, *FOUND, "iou"]
HALF = 0.5  # intersection over union from which two boxes count as the same
BLOCK = 256  # photos after which the table is written


def locate_finder() -> Path | None:
    """Return the finder that FIELDMARK_FINDER names, else the published one, None without any."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return SHIPPED_FINDER if SHIPPED_FINDER.is_file() else None


def load_finder() -> Finder:
    """Load the finder of `locate_finder`; raises ModelError if it is missing or damaged."""
    return Finder(locate_finder() or SHIPPED_FINDER)


def crop_to_birds(
    photos: pd.DataFrame, folder: Path, finder: Finder, crops: Path = CROPS
) -> tuple[Path, pd.DataFrame]:
    """Write the crop of each photo below `crops`; return that folder and the table without boxes.

    A crop is the first square in which the function would look for a bird: that around the best
    box, or the middle square where nothing is found. Paths stay the same. The folder's name is a
    hash of the photos and the finder, so a second call reuses the crops, and an interrupted one is
    completed. Its file crops.csv lists what was found.
    """
    digests = map_threads(partial(digest_photo, folder=folder), list(photos["path"]))
    rule = f"{finder.sha256} {MARGIN} {PIL.__version__}"
    content = "\n".join([rule, *photos["path"], *digests])
    out = crops / f"{folder.resolve().name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    table = read_crops(out)
    done = {path for path in table["path"] if (out / path).is_file()}
    table = table[table["path"].isin(done)]
    missing = photos[~photos["path"].isin(done)].to_dict("records")
    for start in range(0, len(missing), BLOCK):
        block = missing[start : start + BLOCK]
        rows = map_threads(partial(write_crop, folder=folder, out=out, finder=finder), block)
        table = pd.concat([table, pd.DataFrame(rows, columns=COLUMNS)], ignore_index=True)
        write_text(out / TABLE, table.to_csv(index=False))
    return out, photos.drop(columns=BOX, errors="ignore")


def read_crops(folder: Path) -> pd.DataFrame:
    """Return the table of the photos that were cropped into a folder; empty if there is none.

    Columns: `path`, `width` and `height` of the upright photo, `source` of the crop (`finder`,
    `center`; `unreadable` for a copied photo), `score` of the best box, the number of `birds`
    found, the crop, the best box, both in pixels of the upright photo, and the box's `iou` with
    that of the data set, where it has one.
    """
    file = folder / TABLE
    if not file.is_file():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(file, dtype={"path": str}, keep_default_na=False, na_values=[""])


def digest_photo(path: str, folder: Path) -> str:
    """Return the SHA-256 of a photo; empty if it cannot be opened, which the survey reports."""
    try:
        return hashlib.sha256((folder / path).read_bytes()).hexdigest()
    except OSError:
        return ""


def write_crop(row: dict, folder: Path, out: Path, finder: Finder) -> list:
    """Write the crop of one photo; return the values of COLUMNS.

    A photo that cannot be decoded is copied, so that the survey reports it.
    """
    path, data = row["path"], b""
    unreadable = [path, None, None, "unreadable", *[None] * (len(COLUMNS) - 4)]
    try:
        data = (folder / path).read_bytes()
        arguments = (decode_upright, data, finder.size, finder.filter)
        decoded = job_decoder().submit(*arguments).result().value
    except PhotoError:
        write_bytes(out / path, data)
        return unreadable
    except OSError:
        return unreadable
    boxes = finder.find(decoded, single_thread=True)
    crop = propose_crops(boxes, decoded.width, decoded.height)[0]
    pixels = cut(decoded, crop.square)
    write_bytes(out / path, drawn.encode_photo(pixels, quality=95, subsampling=0))
    best = list(boxes[0][:4]) if boxes else [None] * 4
    facts = [path, decoded.width, decoded.height, crop.source, crop.score, len(boxes)]
    return [*facts, *crop[:3], *best, compare_boxes(data, row, best)]


def cut(decoded: DecodedPhoto, square: tuple[int, int, int, int]) -> np.ndarray:
    """Return the pixels of a square of a photo, as decoded, uint8 [h, w, 3]."""
    rows, columns = decoded.pixels.shape[:2]
    left, top, width, height = square
    x0, x1 = scale_interval(left, width, columns / decoded.width, columns)
    y0, y1 = scale_interval(top, height, rows / decoded.height, rows)
    return decoded.pixels[y0:y1, x0:x1]


def compare_boxes(data: bytes, row: dict, found: list) -> float | None:
    """Return the intersection over union of the box found and that of the data set.

    0 if nothing was found; None if the data set has no box, or if the photo's EXIF turns it, since
    boxes count the pixels of the file.
    """
    if not all(np.isfinite(row.get(key, np.nan)) for key in BOX):
        return None
    with Image.open(io.BytesIO(data), formats=detect_formats(data)) as image:
        if read_orientation(image) != 1:
            return None
    return overlap([row[key] for key in BOX], found) if None not in found else 0.0


def summarize_crops(crops: pd.DataFrame) -> dict:
    """Return the card's entry `crops` for a table of `read_crops`, with 95 % intervals.

    `found` is the share of the readable photos in which a bird was found; the others keep their
    middle square. Where the data set has boxes, `overlapping` is the share of those whose IoU with
    the best box is at least HALF, and `mean_iou` the mean.
    """
    readable, iou = crops[crops["source"] != "unreadable"], crops["iou"].dropna().to_numpy(float)
    found = int((readable["source"] == "finder").sum())
    summary = {
        "found": wilson_interval(found, len(readable)),
        "not_found": len(readable) - found,
        "unreadable": len(crops) - len(readable),
    }
    if len(iou):
        summary["overlapping"] = wilson_interval(int((iou >= HALF).sum()), len(iou))
        summary["mean_iou"] = bootstrap_interval([iou], np.mean)
    return summary
