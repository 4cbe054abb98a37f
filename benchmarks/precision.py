"""Compare the weights' number formats of a model file: size, latency, accuracy and the drop test.

    FIELDMARK_PHOTOS=... python -m benchmarks.precision [RUN] [--rounds 100]

RUN is a folder with birds.safetensors and split.csv. Its weights are rounded already, so fp32 shows
what longer storage brings, not what rounding cost: that is `accuracy_before_rounding` in the card.
Times are taken in turns.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import typer

from benchmarks.results import MODEL, RunFolder, Save, number, percent, report
from birds.classifier import Classifier
from export import quantization
from export.drop import check_drop, measure_drop
from export.exporter import store
from export.graph import Graph
from export.model_file import export_graph, write_model
from export.predictions import held_out_photos
from export.weights_dtype import DEFAULT, WEIGHTS_DTYPES
from fieldmark.data.run_photos import find_run_photos
from fieldmark.errors import ExportError, GateError
from fieldmark.evaluation.latency import measure_latency
from fieldmark.evaluation.predictions import predict, predict_with_file
from fieldmark.network.network import Network
from fieldmark.run import Run
from fieldmark.statistics import wilson_interval

THREADS = (1, 2)


def main(run: RunFolder = MODEL, rounds: int = 100, save: Save = False) -> None:
    """Print a row for each number format; each file is timed `rounds` times."""
    source, network = Run(run), Network.load(run)
    photos, folder = held_out_photos(source.split), find_run_photos(source)
    (expected,) = predict([network], photos, folder)
    expected = expected.scaled(source.card["temperature"])
    with tempfile.TemporaryDirectory() as scratch:
        files = write_files(network, source, folder, Path(scratch))
        classifiers = {(d, n): Classifier(file, n) for d, file in files.items() for n in THREADS}
        milliseconds = measure_latency(classifiers, rounds)
        rows, notes = [], []
        for dtype, file in files.items():
            predictions = predict_with_file(classifiers[dtype, 1], photos, folder)
            drop, gate = measure_drop(expected, predictions), "passed"
            try:
                check_drop(dtype, expected, predictions)
            except GateError as error:
                notes.append(str(error))
                gate = "refused"
            correct = predictions.of_split("calibration").correct
            accuracy = wilson_interval(int(correct.sum()), len(correct))
            name = f"{dtype}, the default" if dtype == DEFAULT else dtype
            row = [name, f"{file.stat().st_size / 1e6:.1f}"]
            row += [format_latency(milliseconds, dtype, threads) for threads in THREADS]
            row += [percent(accuracy), number(drop["accuracy_drop"], 2), percent(drop["agreement"])]
            rows.append([*row, gate])
        n, calibration = len(photos), int((photos["split"] == "calibration").sum())
        columns = ["weights", "MB", "ms, 1 thread", "2 threads"]
        columns += [f"first prediction right, n = {calibration}", f"points lost, n = {n}"]
        columns += [f"same prediction, n = {n}", "gate"]
        report("precision", "python -m benchmarks.precision", columns, rows, save)
        for note in [*notes, *tolerance_notes(files)]:
            typer.echo(note)


def write_files(network: Network, run: Run, folder: Path, to: Path) -> dict[str, Path]:
    """Write a file of each format; a format that the network cannot have is left out, with a note.

    The out-of-distribution score is one minus the highest probability.
    """
    model = export_graph(Graph(network, run.card["temperature"]), network.preparation.size)
    files = {}
    for dtype in WEIGHTS_DTYPES:
        try:
            stored, entries = store(model, network, run.split, folder, dtype)
            if dtype != "int8":
                drawn = quantization.describe_drawn_photo(stored, network.preparation.size)
                entries = {"drawn_photo": drawn, "tolerance": None}
        except ExportError as error:
            typer.echo(f"{dtype}: {error}")
            continue
        files[dtype] = to / f"{dtype}.onnx"
        write_model(stored, run.card | entries, files[dtype])
    return files


def tolerance_notes(files: dict[str, Path]) -> list[str]:
    """Describe how far another processor may differ, by what other kernels compute here."""
    notes = []
    for dtype, file in files.items():
        birds = quantization.draw_birds(Classifier(file).size)
        notes.append(f"{dtype}: {quantization.measure_tolerances(onnx.load(file), birds)}")
    return ["Tolerance for other processors:", *notes]


def format_latency(milliseconds: dict, dtype: str, threads: int) -> str:
    """Format the median milliseconds, and in brackets the median ratio to fp32."""
    ratio = np.median(milliseconds[dtype, threads] / milliseconds["fp32", threads])
    return f"{np.median(milliseconds[dtype, threads]):.1f} ({ratio:.2f})"


if __name__ == "__main__":
    typer.run(main)
