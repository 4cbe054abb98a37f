"""Search photos for birds with the function's own code, and predict all crops it proposes."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from tqdm import tqdm

from birds.crops import Crop, propose_crops
from birds.finder import Finder
from birds.photo import crop_photo, decode_upright, prepare_photo
from fieldmark.evaluation.predictions import (
    PhotoSource,
    Predictions,
    concatenate,
    describe_photos,
    read_photo,
)
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.proposals import Proposals

BATCH_PHOTOS = 8  # whose crops are predicted together


def search_photos(
    photos: pd.DataFrame, source: PhotoSource, finder: Finder | None, predictor: Predictor
) -> Proposals:
    """Predict all crops that a finder proposes in photos; without one, the middle squares.

    `photos` has columns `path` (as in `source`), `label` and `split`.
    """
    squares: list[Crop] = []
    counts: list[int] = []
    predictions: list[Predictions] = []

    def propose(path: str) -> tuple[list[Crop], np.ndarray]:
        return cut_proposals(read_photo(source, path), finder, predictor.size, predictor.filter)

    starts = range(0, len(photos), BATCH_PHOTOS)
    with ThreadPoolExecutor() as pool:
        for start in tqdm(starts, "Searching", unit="batch", disable=None, leave=False):
            batch = photos.iloc[start : start + BATCH_PHOTOS]
            crops, pixels = zip(*pool.map(propose, batch["path"]), strict=True)
            squares += itertools.chain.from_iterable(crops)
            counts += map(len, crops)
            repeated = batch.iloc[np.repeat(np.arange(len(batch)), [len(each) for each in crops])]
            facts = describe_photos(repeated, predictor.labels)
            predictions.append(predictor.predict(np.concatenate(pixels), facts))
    return Proposals(photos, concatenate(predictions), squares, np.array(counts))


def cut_proposals(
    data: bytes, finder: Finder | None, size: int, filter: str
) -> tuple[list[Crop], np.ndarray]:
    """Return the crops proposed in a photo, best first, and their pixels, uint8 [k, S, S, 3]."""
    if not finder:
        prepared = prepare_photo(data, size, filter)
        return [Crop(*prepared.crop, "center")], prepared.pixels[None]
    photo = decode_upright(data, finder.size, finder.filter)
    crops = propose_crops(finder.find(photo), photo.width, photo.height)
    return crops, np.stack([crop_photo(photo, crop.square, size, filter).pixels for crop in crops])
