"""Measure one answer for several photos of one bird, against an answer for each photo.

    FIELDMARK_PHOTOS=... FIELDMARK_NOT_BIRDS=... python -m benchmarks.bursts [RUN]
        [--whole FOLDER] [--other FOLDER]

RUN is a folder with birds.onnx and split.csv. Ways to combine outputs are compared on bursts of
`valid` photos, each pasted at five places of one ground. The way of `birds.same_bird` is measured
on `calibration` photos with thresholds that photos of other species set: on random groups of one
species, which differ more than photos of one bird, and on bursts, which differ less. --whole is a
folder of whole photos, one folder a species; --other is one of other species, of which five frames
are cut each: every other photo compares ways, the rest are measured.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.burst_photos import FRAMES, Bursts, Windows
from benchmarks.combining import (
    SpeciesFolds,
    combine_photos,
    compare_probabilities,
    compare_unknown,
    split_groups,
)
from benchmarks.field import OVERLAP, find_files, list_whole_photos
from benchmarks.held_out import HeldOutModel
from benchmarks.results import MODEL, RunFolder, Save, number, report
from birds.decision import unknown_threshold
from fieldmark.evaluation import metrics
from fieldmark.evaluation.guarantees import measure_answers
from fieldmark.evaluation.predictions import Predictions, concatenate
from fieldmark.evaluation.proposals import Proposals
from fieldmark.finder.pasting import Edge
from fieldmark.statistics import wilson_interval

SIZES = (1, 2, 3, 5)
EDGES: tuple[Edge, ...] = ("hard", "ellipse")
WAYS = (
    "probability",
    "n",
    "first prediction right",
    "sets contain",
    "species in a set",
    "log loss",
)
SCORES = ("unknown score", "n", "n, other species", "called unknown", "others called so", "AUROC")
FIGURES = {
    "accuracy": "first prediction right",
    "known_rejection_rate": "called unknown",
    "accuracy_of_answered": "right of those answered",
    "coverage": "prediction sets that contain the species",
}
COLUMNS = ("%", "photos of a bird", "n", *FIGURES.values(), "species in a set")
COMMAND = "python -m benchmarks.bursts --whole WHOLE --other OTHER"


def main(
    run: RunFolder = MODEL,
    whole: Annotated[Path | None, typer.Option(help="Whole photos by species.")] = None,
    other: Annotated[Path | None, typer.Option(help="Photos of other species.")] = None,
    save: Save = False,
) -> None:
    """Print how ways to combine photos compare, and what the chosen one gives."""
    model = HeldOutModel.of_run(run)
    threshold = unknown_threshold(model.card)
    valid = [search_bursts(model, "valid", edge).choose(threshold) for edge in EDGES]
    known, strangers = concatenate(valid), []
    report("burst-ways", COMMAND, WAYS, compare_probabilities(known, FRAMES, model.card), save)
    if other:
        strangers = list(search_windows(model, find_files(other)).choose(threshold).ood_score)
        first, second = np.array(strangers).reshape(-1, 2, FRAMES).swapaxes(0, 1).reshape(2, -1)
        rows = compare_unknown(known.ood_score, first, FRAMES, model.card)
        report("unknown-ways", COMMAND, SCORES, rows, save)
        strangers = second
    calibration = model.search_field_photos("calibration")
    folds, rows = SpeciesFolds(calibration, model.card), []
    is_pasted = ~np.isnan(calibration.share)
    for name, mask in (("one species", ~is_pasted), ("one species, pasted", is_pasted)):
        rows += measure_species(name, calibration.select(mask), folds)
    for edge in EDGES:
        rows += measure_bursts(edge, search_bursts(model, "calibration", edge), folds)
    if whole:
        photos = list_whole_photos(whole, frozenset(model.predictor.labels), OVERLAP)
        rows += measure_species("one species, whole photos", model.search(photos, whole), folds)
    rows += measure_strangers(np.array(strangers), threshold)
    report("bursts", COMMAND, COLUMNS, rows, save)


def search_bursts(model: HeldOutModel, split: str, edge: Edge) -> Proposals:
    """Predict bursts of the photos of a split."""
    bursts = Bursts(model.photos_of(split), model.folder, model.grounds, edge)
    return model.search(bursts.table, bursts)


def search_windows(model: HeldOutModel, files: list[Path]) -> Proposals:
    """Predict frames that are cut from an even number of whole photos."""
    windows = Windows(files[: len(files) // 2 * 2])
    return model.search(windows.table, windows)


def measure_species(name: str, photos: Proposals, folds: SpeciesFolds) -> list[list[str]]:
    """Return the rows of random groups of photos of one species."""
    chosen, labels = folds.choose(photos), photos.photos["label"].reset_index(drop=True)
    rows = []
    for size in SIZES:
        if groups := split_groups(labels, size):
            rows.append([name, str(size), *measure_groups(chosen, groups, folds)])
    return rows


def measure_bursts(edge: Edge, photos: Proposals, folds: SpeciesFolds) -> list[list[str]]:
    """Return the rows of the first frames of bursts."""
    chosen = folds.choose(photos)
    frames = np.arange(len(chosen)).reshape(-1, FRAMES)
    return [
        [f"one photo, pasted, {edge}", str(size), *measure_groups(chosen, list(part), folds)]
        for size in SIZES
        for part in (frames[:, :size],)
    ]


def measure_groups(chosen: Predictions, groups: list[np.ndarray], folds: SpeciesFolds) -> list[str]:
    """Return n and the figures of groups of rows, each answered as one bird."""
    applied = folds.apply(combine_photos(chosen, groups))
    figures = measure_answers(applied)
    size = metrics.set_metrics(applied.covered, applied.size, applied.rejected)
    cells = [number(figures[key], 1, 100) if key in figures else "none" for key in FIGURES]
    return [f"{len(groups):,}", *cells, f"{size['prediction_set_size']['value']:.2f}"]


def measure_strangers(unknown: np.ndarray, threshold: float | None) -> list[list[str]]:
    """Return the rows of the first frames of birds of other species."""
    rows = []
    for size in SIZES if len(unknown) else ():
        scores = unknown.reshape(-1, FRAMES)[:, :size].mean(1)
        called = wilson_interval(int((scores > threshold).sum()), len(scores))
        cells = ["", number(called, 1, 100), "", "", ""]
        rows.append(
            ["another species, windows of one photo", str(size), f"{len(scores):,}", *cells]
        )
    return rows


if __name__ == "__main__":
    typer.run(main)
