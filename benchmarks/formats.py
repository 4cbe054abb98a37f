"""Compare a run's files in all formats: size, latency, and what they predict of held-out photos.

    FIELDMARK_PHOTOS=... python -m benchmarks.formats [RUN] [--rounds 200] [--save]

RUN is exported in a copy of its folder, through the gate. Files with fp32 hold the same weights,
stored longer. Times are of one thread, in turns; each ratio is the median of the ratios of the
turns, with its bootstrap interval.
"""

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import typer

from benchmarks.results import MODEL, RunFolder, Save, number, percent, report
from birds.classifier import OUTPUTS, Classifier
from birds.finder import Finder
from export.drop import measure_drop
from export.formats import FORMATS, NamedOutputs, load_runtime
from export.graph import Graph
from export.predictions import held_out_photos
from export.rebuild import rebuild_model
from export.torch_files import load_classifier, load_finder
from fieldmark.data.found_birds import locate_finder
from fieldmark.data.run_photos import find_run_photos
from fieldmark.evaluation.latency import measure_latency
from fieldmark.evaluation.predictions import predict, predict_with_file
from fieldmark.network.network import Network
from fieldmark.run import Run
from fieldmark.run_folder import FORMAT_SUFFIXES
from fieldmark.statistics import bootstrap_interval

BATCHES = (1, 8)


def main(run: RunFolder = MODEL, rounds: int = 200, save: Save = False) -> None:
    """Print a row for each file; each is timed `rounds` times with each batch size."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "run"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints", "snapshots"))
        rebuild_model(copy, formats=list(FORMATS))
        rows = compare_models(Run(copy), Path(scratch), rounds) + compare_finders(copy, rounds)
    columns = ["file", "weights", "MB"]
    for batch in BATCHES:
        columns += [f"ms, batch of {batch}", f"times ONNX, batch of {batch}"]
    columns += ["largest difference from the network", "same first prediction", "n"]
    report("formats", "python -m benchmarks.formats", columns, rows, save)


def compare_models(run: Run, scratch: Path, rounds: int) -> list[list[str]]:
    """Return the rows of the species model."""
    network, photos, folder = Network.load(run), held_out_photos(run.split), find_run_photos(run)
    files = {"onnx": run.model_file} | {
        name: run.folder / f"birds{suffix}" for name, suffix in FORMAT_SUFFIXES.items()
    }
    classifiers = {
        name: Classifier(file, 1) if name == "onnx" else load_classifier(file)
        for name, file in files.items()
    }
    (expected,) = predict([network], photos, folder)
    expected = expected.scaled(run.card["temperature"])
    agreement = {}
    for name, classifier in classifiers.items():
        drop = measure_drop(expected, predict_with_file(classifier, photos, folder))
        largest, same = f"{drop['largest_difference']:.1e}", percent(drop["agreement"])
        agreement[name] = [largest, same, str(len(photos))]
    timed: dict[str, Any] = dict(classifiers)
    for name in FORMATS:
        files[f"{name} fp32"] = file = scratch / f"single{FORMAT_SUFFIXES[name]}"
        timed[f"{name} fp32"] = write_single(name, network, file)
    dtype = run.card["weights_dtype"]
    rows = []
    for name, cells in time_files(timed, rounds).items():
        file, stored = files[name].name.replace("single", "birds"), name.partition(" ")[2] or dtype
        row = [file, stored, megabytes(files[name]), *cells]
        rows.append([*row, *agreement.get(name, ["", "", ""])])
    return rows


def write_single(format: str, network: Network, file: Path) -> Any:
    """Write a network with all weights as float32; return what `measure_latency` needs of it.

    The out-of-distribution score is one minus the highest probability.
    """
    size = network.preparation.size
    photo = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    module = NamedOutputs(Graph(network), OUTPUTS).eval().requires_grad_(False)
    converted = FORMATS[format].convert(module, photo, {0: torch.export.Dim("N")})
    FORMATS[format].write(converted, "{}", file)
    runtime, _ = load_runtime(file)
    return SimpleNamespace(
        size=size, predict=lambda pixels: runtime.run(OUTPUTS, {"photo": pixels})
    )


def compare_finders(folder: Path, rounds: int) -> list[list[str]]:
    """Return the rows of the finder, if any; its differences are those of scores at the gate."""
    published = locate_finder()
    if not published:
        return []
    files = {name: folder / f"finder{suffix}" for name, suffix in FORMAT_SUFFIXES.items()}
    finders = {"onnx": Finder(published, 1)}
    finders |= {name: load_finder(file) for name, file in files.items()}
    files["onnx"] = published
    rows = []
    for name, cells in time_files(finders, rounds).items():
        card = finders[name].card
        largest, n = card["gate"]["largest_score_difference"], str(card["gate"]["photos"])
        row = [files[name].name, card["weights_dtype"], megabytes(files[name]), *cells]
        rows.append([*row, f"{largest:.1e} (score)", "", n])
    return rows


def time_files(timed: dict[str, Any], rounds: int) -> dict[str, list[str]]:
    """Return milliseconds and ratio to ONNX of each file, for each batch size in turn."""
    cells: dict[str, list[str]] = {name: [] for name in timed}
    for batch in BATCHES:
        milliseconds = measure_latency(timed, rounds, batch)
        for name, values in milliseconds.items():
            ratio = bootstrap_interval(
                (values / milliseconds["onnx"],), np.median, proportion=False
            )
            cells[name] += [f"{np.median(values):.1f}", number(ratio, 2)]
    return cells


def megabytes(file: Path) -> str:
    """Format the size of a file."""
    return f"{file.stat().st_size / 1e6:.1f}"


if __name__ == "__main__":
    typer.run(main)
