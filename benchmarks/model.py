"""Measure what a model file promises, and what it costs: the table in the README.

    FIELDMARK_PHOTOS=... FIELDMARK_NOT_BIRDS=... python -m benchmarks.model [RUN]

RUN is a folder with birds.onnx and split.csv; its `calibration` photos judge, each by thresholds
that came from others. What is left out, like FIELDMARK_NOT_BIRDS, is left out of the table. Species
that were never taught are those of the rehearsal that the card names: `make export RUN=runs/cub80`
measures them anew.
"""

import argparse
import platform
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from birds.classifier import Classifier
from fieldmark.data.datasets import load_dataset
from fieldmark.data.ood_photos import list_ood_photos
from fieldmark.errors import DatasetError
from fieldmark.evaluation import latency as speed
from fieldmark.evaluation import measure
from fieldmark.evaluation.uncertainty import Part

RUN = Path("azure_function/model")
ROUNDS = 200
PER_CENT = ("accuracy", "top_5", "coverage", "known_called_unknown", "called_unknown")
NAMES = {
    "accuracy": "first answer right",
    "top_5": "among the first five",
    "ece_before": "calibration error (ECE) before the temperature",
    "ece": "calibration error (ECE)",
    "ece_of_perfection": "ECE that so many photos would show of true probabilities",
    "coverage": "lists that hold the right species",
    "list_size": "species on a list",
    "known_called_unknown": "known birds called unknown",
}
KINDS = {"not_birds": "photos of no bird", "unseen": "species never taught"}

STRANGE = {"auroc": ": AUROC of `unknown`", "called_unknown": " called unknown"}


def main() -> int:
    """Print a Markdown table; 2 where the photos aren't in place."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", default=RUN)
    run = parser.parse_args().run
    file = run / "birds.onnx"
    classifier = Classifier(file)
    try:
        rows = [*promises(classifier, pd.read_csv(run / "split.csv", dtype=str))]
    except DatasetError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{classifier.card['name']} {classifier.card['version']}, {date.today()},")
    print(f"{platform.machine()} {platform.system()}, Python {platform.python_version()}\n")
    print("| | value (95 % interval) | n |\n|---|---|---|")
    for name, value, n in [*rows, *costs(file)]:
        print(f"| {name} | {value} | {n} |")
    return 0


def promises(classifier: Classifier, split: pd.DataFrame):
    """Measure accuracy, calibration, lists and `unknown`; yield rows of name, value and n."""
    card = classifier.card
    recipe = card["recipe"]
    folder, _ = load_dataset(recipe["photos"], crop_to_box=recipe.get("crop_to_box", False))
    judged = Part.of(split[split["split"] == "calibration"], folder, classifier.labels)
    outputs = measure.asked(classifier, judged.paths)
    families = [each["family"] for each in card["labels"]]
    chosen = card["thresholds"]
    figures, _ = measure.metrics(outputs, judged.truth, card["temperature"], chosen, families)
    for key, each in figures.items():
        yield NAMES[key], written(key, each), each["n"]
    found = {
        kind: measure.strangers(
            outputs.unknown, measure.asked(classifier, paths).unknown, chosen["unknown"]
        )
        for kind, paths in list_ood_photos("").items()
    }
    rehearsed = (card.get("open_set_run") or card).get("out_of_distribution", {})
    found |= {kind: rehearsed[kind] for kind in ("unseen",) if kind in rehearsed}
    for kind, of in found.items():
        for key, each in of.items():
            yield f"{KINDS[kind]}{STRANGE[key]}", written(key, each), each["n"]


def written(key: str, each: dict) -> str:
    """Write a value with its interval."""
    values = (each["value"], *each["interval"])
    if key in PER_CENT:
        value, low, high = (f"{100 * number:.1f} %" for number in values)
    else:
        value, low, high = (f"{number:.3f}" for number in values)
    return f"{value} ({low} to {high})"


def costs(file: Path):
    """Measure the file, and the milliseconds of one prepared photo on one thread and on two."""
    yield "megabytes", f"{file.stat().st_size / 1e6:.1f}", ""
    sessions = {threads: Classifier(file, threads) for threads in (1, 2)}
    for threads, each in speed.timed(sessions, ROUNDS).items():
        low, middle, high = np.quantile(each, [0.025, 0.5, 0.975])
        name = f"milliseconds a photo, {threads} thread{'s' if threads > 1 else ''}"
        yield name, f"{middle:.1f} ({low:.1f} to {high:.1f} of {ROUNDS})", ROUNDS


if __name__ == "__main__":
    sys.exit(main())
