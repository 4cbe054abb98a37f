"""Measure what a model file guarantees and what it costs.

    FIELDMARK_PHOTOS=... FIELDMARK_NOT_BIRDS=... python -m benchmarks.model [RUN]

RUN is a folder with birds.onnx and split.csv. Its `calibration` photos are measured by thresholds
that were set on others, as in its card. With a finder, FIELDMARK_FINDER or the published one, all
photos are searched, and the thresholds are set on pasted photos too. Without FIELDMARK_NOT_BIRDS
the rows of photos without a bird are left out. Species left out of training are those of the
open-set run that the card names; `fieldmark export runs/cub80` measures them again.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer

from benchmarks.results import FIGURE, MODEL, RunFolder, Save, number, percent, report
from birds.classifier import Classifier
from birds.decision import unknown_threshold
from birds.finder import Finder
from export.held_out import hold_out_grounds, search_kinds
from fieldmark.data.run_photos import find_run_photos
from fieldmark.evaluation.guarantees import measure_uncertainty
from fieldmark.evaluation.latency import measure_latency
from fieldmark.evaluation.metrics import ood_metrics
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.search import search_photos
from fieldmark.evaluation.uncertainty import UncertaintyOptions, list_unfamiliar
from fieldmark.finder.field_photos import COPIES, FieldPhotos
from fieldmark.run import Run

ROUNDS = 200
PERCENTAGES = ("accuracy", "top_5", "coverage", "known_rejection_rate", "called_unknown")
NAMES = {
    "accuracy": "first prediction right (top-1)",
    "top_5": "right species among the first five (top-5)",
    "ece_before_temperature": "expected calibration error (ECE) before temperature scaling",
    "ece": "expected calibration error (ECE)",
    "ece_if_calibrated": "ECE of a perfectly calibrated model with as many photos",
    "known_rejection_rate": "known species called unknown",
    "coverage": "prediction sets that contain the species",
    "prediction_set_size": "species in a prediction set",
}
KINDS = {"not_birds": "photos without a bird", "unseen": "species left out of training"}
OOD_NAMES = {"auroc": "{}: AUROC of `unknown`", "called_unknown": "{} called unknown"}


def main(run: RunFolder = MODEL, save: Save = False) -> None:
    """Print metrics, size and latency of a model file."""
    rows = [*metric_rows(Run(run)), *cost_rows(Run(run).model_file)]
    report("model", "python -m benchmarks.model", FIGURE, rows, save)


def metric_rows(run: Run) -> Iterator[list[str]]:
    """Yield accuracy, calibration, prediction sets and rejection: name, value and n."""
    classifier, photos = Classifier(run.model_file), run.split.query("split == 'calibration'")
    card, predictor = classifier.card, Predictor.of_file(classifier)
    recipe = card["recipe"] | {"not_birds": ""}  # only FIELDMARK_NOT_BIRDS names the folder
    options = UncertaintyOptions.from_recipe(recipe, card.get("open_set_run"))
    finder = Finder(options.finder) if options.finder else None
    unfamiliar = list_unfamiliar(photos, hold_out_grounds(options))
    grounds = [Path(path) for path in unfamiliar.query("is_ground")["path"]]
    versions = FieldPhotos(photos, find_run_photos(run), grounds, COPIES if finder else 0)
    proposals = search_photos(versions.table, versions, finder, predictor)
    families = [label["family"] for label in card["labels"]]
    measured = measure_uncertainty(proposals, card["thresholds"], families)
    figures = {name: measured["metrics"][name] for name in NAMES}
    yield from figure_rows(figures, NAMES)
    whole, reports = proposals.select(np.isnan(proposals.share)), unfamiliar.query("reports")
    for kind, searched in search_kinds(reports, Path(), finder, predictor).items():
        scores = whole.lowest_score, searched.lowest_score
        yield from figure_rows(
            ood_metrics(*scores, unknown_threshold(card)), OOD_NAMES, KINDS[kind]
        )
    recorded = (card.get("open_set_run") or card).get("out_of_distribution", {})
    yield from figure_rows(recorded.get("unseen", {}), OOD_NAMES, KINDS["unseen"])


def figure_rows(figures: dict, names: dict[str, str], kind: str = "") -> Iterator[list[str]]:
    """Yield name, value with interval, and n of each figure."""
    for name, figure in figures.items():
        value = percent(figure) if name in PERCENTAGES else number(figure)
        yield [names[name].format(kind), value, f"{figure['n']:,}"]


def cost_rows(file: Path) -> Iterator[list[str]]:
    """Yield the size of the file, and the milliseconds of a prepared photo by threads."""
    yield ["megabytes", f"{file.stat().st_size / 1e6:.1f}", ""]
    classifiers = {threads: Classifier(file, threads) for threads in (1, 2)}
    for threads, milliseconds in measure_latency(classifiers, ROUNDS).items():
        low, median, high = np.quantile(milliseconds, [0.025, 0.5, 0.975])
        name = f"milliseconds a photo, {threads} thread{'s' if threads > 1 else ''}"
        yield [name, f"{median:.1f} ({low:.1f} to {high:.1f} of {ROUNDS})", f"{ROUNDS}"]


if __name__ == "__main__":
    typer.run(main)
