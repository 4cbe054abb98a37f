"""Accuracy by the bird's size in the frame: photos pasted small onto others, and searched."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from birds.finder import Finder
from fieldmark.data.found_birds import load_finder, locate_finder
from fieldmark.data.ood_photos import list_ood_photos
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.search import search_photos
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.mistakes.accuracy_by import describe_accuracy
from fieldmark.finder.field_photos import paste_photo
from fieldmark.finder.grounds import split_grounds
from fieldmark.finder.photo_versions import choose_ground, seed_generator

SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)  # of the photo's longer side in the frame's shorter side
PHOTOS = 30  # pasted at each share: the finder takes a CPU a fifth of a second each
MIDDLE, FOUND, SERVED = "middle square", "finder", "model card"
FIGURES = ["n", "correct", "accuracy", "low", "high"]
COLUMNS = ["look", "share", *FIGURES]


def find_grounds() -> list[Path]:
    """Return the photos without birds of FIELDMARK_NOT_BIRDS on which no training pastes birds."""
    kinds = list_ood_photos("").values()
    return [path for paths in kinds for path in split_grounds(paths)[1]]


def measure_frame_sizes(
    explained: ExplainedRun,
    grounds: Sequence[Path] = (),
    photos: int = PHOTOS,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
) -> pd.DataFrame:
    """Paste calibration photos at several sizes, and predict them without and with the finder.

    `grounds` are photos without birds; without any they are drawn. Each photo is pasted at every
    share, at the same random place and on the same ground. Columns: `look` (`middle square`,
    `finder`), `share`, `n`, `correct`, `accuracy`, and its Wilson interval (`low`, `high`). A run
    without a finder has only the middle square.
    """
    calibration = explained.photos[explained.photos["split"] == "calibration"]
    chosen = calibration.sample(min(photos, len(calibration)), random_state=seed)
    looks: list[tuple[str, Finder | None]] = [(MIDDLE, None)]
    if locate_finder():
        looks.append((FOUND, load_finder()))
    predictor = Predictor.of_file(explained.classifier)
    unknown = explained.run.card["thresholds"]["unknown"] or {}
    rows = []
    for share in shares:
        pasted = {path: paste(explained.folder / path, share, grounds) for path in chosen["path"]}
        for look, finder in looks:
            found = search_photos(chosen, pasted, finder, predictor)
            correct = found.choose(unknown.get("threshold")).correct
            rows.append((look, share, *describe_accuracy(correct)))
    return pd.DataFrame(rows, columns=COLUMNS)


def paste(file: Path, share: float, grounds: Sequence[Path]) -> bytes:
    """Paste a photo onto a ground that its name sets; return a JPEG."""
    rng = seed_generator(f"size of {file.name}")
    ground = choose_ground(rng, grounds)
    return paste_photo(file.read_bytes(), ground, share, "hard", rng)


def list_served_sizes(card: dict) -> pd.DataFrame:
    """Return what a model card says of pasted photos by their share, empty if it says nothing.

    Columns as `measure_frame_sizes`; `share` is the geometric mean of the ends of a range.
    """
    by_share = card.get("field", {}).get("by_share", {})
    rows = []
    for name, figures in by_share.items():
        accuracy = figures["accuracy"]
        n, share = accuracy["n"], np.sqrt(np.prod([float(end) for end in name.split(" to ")]))
        value, (low, high) = accuracy["value"], accuracy["interval"]
        rows.append((SERVED, share, n, round(value * n), value, low, high))
    return pd.DataFrame(rows, columns=COLUMNS)
