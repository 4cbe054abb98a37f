"""Compare a run's files in all formats: size, latency, and what they predict of held-out photos.

    FIELDMARK_PHOTOS=... python -m benchmarks.formats [RUN] [--rounds 200] [--save]

RUN is exported in a copy of its folder, through the gate, unless it has all files. Those with fp32
hold the same weights, stored longer. Times are medians of one thread, in turns; each ratio is that
of two medians, with its paired bootstrap interval. All files of a finder search the same held-out
photos as they are.
"""

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
import typer

from benchmarks.results import MODEL, RunFolder, Save, number, percent, report
from birds.classifier import Classifier
from birds.finder import Finder
from birds.model_file import OUTPUTS
from export import finder_gate
from export.conversion import convert_models
from export.drop import measure_drop
from export.formats import FORMATS, load_runtime
from export.graph import Graph
from export.predictions import held_out_photos
from export.rebuild import rebuild_model
from export.torch_files import load_torch_classifier, load_torch_finder
from fieldmark.data.found_birds import locate_finder
from fieldmark.data.run_photos import find_run_photos
from fieldmark.evaluation.latency import measure_latency
from fieldmark.evaluation.predictions import predict, predict_with_file
from fieldmark.finder.finder_run import load_exported_detector
from fieldmark.network.network import Network
from fieldmark.run import Run
from fieldmark.run_folder import FORMAT_SUFFIXES
from fieldmark.statistics import bootstrap_interval, wilson_interval

BATCHES = (1, 8)


def main(run: RunFolder = MODEL, rounds: int = 200, save: Save = False) -> None:
    """Print a row for each file; each is timed `rounds` times with each batch size."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = run if has_all_formats(run) else export_copy(run, Path(scratch) / "run")
        torch.set_num_threads(1)
        rows = compare_models(Run(exported), Path(scratch), rounds)
        rows += compare_finders(Run(exported), rounds)
    columns = ["file", "weights", "MB"]
    for batch in BATCHES:
        columns += [f"ms, batch of {batch}", f"times ONNX, batch of {batch}"]
    columns += ["largest difference from the network", "same first prediction, or boxes", "n"]
    command = f"python -m benchmarks.formats {run} --rounds {rounds}"
    report("formats", command, columns, rows, save)


def has_all_formats(run: Path) -> bool:
    """Return whether a run's folder has its model in all formats."""
    return all((run / f"birds{suffix}").is_file() for suffix in FORMAT_SUFFIXES.values())


def export_copy(run: Path, copy: Path) -> Path:
    """Copy a run's folder, export it in all formats there, and return the copy."""
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints", "snapshots"))
    rebuild_model(copy, formats=list(FORMATS))
    return copy


def compare_models(run: Run, scratch: Path, rounds: int) -> list[list[str]]:
    """Return the rows of the species model."""
    network, photos, folder = Network.load(run), held_out_photos(run.split), find_run_photos(run)
    files = {"onnx": run.model_file} | {
        name: run.folder / f"birds{suffix}" for name, suffix in FORMAT_SUFFIXES.items()
    }
    classifiers = {
        name: Classifier(file, 1) if name == "onnx" else load_torch_classifier(file)
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
    for converted in convert_models(FORMATS, Graph(network), network, "fp32", None):
        name = f"{converted.format} fp32"
        files[name] = file = scratch / f"birds{FORMAT_SUFFIXES[converted.format]}"
        converted.write_model({}, file)
        timed[name] = time_graph(file, network.preparation.size)
    dtype = run.card["weights_dtype"]
    rows = []
    for name, cells in time_files(timed, rounds).items():
        stored = name.partition(" ")[2] or dtype
        row = [files[name].name, stored, megabytes(files[name]), *cells]
        rows.append([*row, *agreement.get(name, ["", "", ""])])
    return rows


def time_graph(file: Path, size: int) -> Any:
    """Return what `measure_latency` needs of a file without a card, for photos of a size."""
    runtime = load_runtime(file)
    return SimpleNamespace(
        size=size, predict=lambda pixels: runtime.run(list(OUTPUTS), {"photo": pixels})
    )


def compare_finders(run: Run, rounds: int) -> list[list[str]]:
    """Return the rows of the finder, if any; its differences are those of scores."""
    published = locate_finder()
    if not published:
        return []
    files = {"onnx": published} | {
        name: run.folder / f"finder{suffix}" for name, suffix in FORMAT_SUFFIXES.items()
    }
    finders = {
        name: Finder(file, 1) if name == "onnx" else load_torch_finder(file)
        for name, file in files.items()
    }
    detector, folder = load_exported_detector(published), find_run_photos(run)
    photos = {path: (folder / path).read_bytes() for path in held_out_photos(run.split)["path"]}
    rows = []
    for name, cells in time_files(finders, rounds).items():
        found = pd.DataFrame(
            finder_gate.compare(finders[name], detector, data) for data in photos.values()
        )
        same = wilson_interval(int(found["passed"].sum()), len(found))
        dtype, largest = finders[name].card["weights_dtype"], found["score_difference"].max()
        row = [files[name].name, dtype, megabytes(files[name]), *cells]
        rows.append([*row, f"{largest:.1e} (score)", percent(same), str(len(found))])
    return rows


def time_files(timed: dict[str, Any], rounds: int) -> dict[str, list[str]]:
    """Return milliseconds and ratio to ONNX of each file, for each batch size in turn."""
    cells: dict[str, list[str]] = {name: [] for name in timed}
    for batch in BATCHES:
        milliseconds = measure_latency(timed, rounds, batch)
        for name, values in milliseconds.items():
            pair = values, milliseconds["onnx"]
            ratio = bootstrap_interval(pair, ratio_of_medians, proportion=False)
            cells[name] += [f"{np.median(values):.1f}", number(ratio, 2)]
    return cells


def ratio_of_medians(first: np.ndarray, second: np.ndarray) -> float:
    """Return the median of the first sample in units of the second's."""
    return float(np.median(first) / np.median(second))


def megabytes(file: Path) -> str:
    """Format the size of a file."""
    return f"{file.stat().st_size / 1e6:.1f}"


if __name__ == "__main__":
    typer.run(main)
