"""Compare the weights' number formats of a model file: size, latency, accuracy and the drop test.

    FIELDMARK_PHOTOS=... python -m benchmarks.precision [RUN] [--rounds 100]

RUN is a folder with birds.safetensors and split.csv. Its weights are rounded already, so fp32 shows
what longer storage brings, not what rounding cost: that is `accuracy_before_rounding` in the card.
Times are taken in turns.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import typer

from benchmarks.results import Save, report
from birds.classifier import Classifier
from export import quantization
from export.drop import check_drop, measure_drop
from export.graph import Graph
from export.model_file import export_graph, write_model
from export.predictions import held_out_photos
from export.rebuild import find_photos
from export.weights_dtype import DEFAULT, WEIGHTS_DTYPES, convert
from fieldmark.errors import ExportError, GateError
from fieldmark.evaluation.latency import measure_latency
from fieldmark.evaluation.predictions import predict, predict_with_file
from fieldmark.network.network import Network
from fieldmark.run import Run
from fieldmark.statistics import wilson_interval

MODEL = Path("azure_function/model")
THREADS = (1, 2)


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")] = MODEL,
    rounds: Annotated[int, typer.Option(help="Times that each file is timed.")] = 100,
    save: Save = False,
) -> None:
    """Print a row for each number format."""
    source, network = Run(run), Network.load(run)
    photos, folder = held_out_photos(source.split), find_photos(source)
    (expected,) = predict([network], photos, folder)
    expected = expected.scaled(source.card["temperature"])
    with tempfile.TemporaryDirectory() as scratch:
        files = write_files(network, source, folder, Path(scratch))
        classifiers = {(d, n): Classifier(file, n) for d, file in files.items() for n in THREADS}
        milliseconds = measure_latency(classifiers, rounds)
        rows, notes = [], []
        for dtype, file in files.items():
            predictions = predict_with_file(classifiers[dtype, 1], photos, folder)
            drop = measure_drop(expected, predictions)
            try:
                check_drop(dtype, expected, predictions)
                gate = "passed"
            except GateError as error:
                notes.append(str(error))
                gate = "refused"
            correct = predictions.of_split("calibration").correct
            accuracy = wilson_interval(int(correct.sum()), len(correct))
            rows.append(
                [
                    f"{dtype}, the default" if dtype == DEFAULT else dtype,
                    f"{file.stat().st_size / 1e6:.1f}",
                    *(format_latency(milliseconds, dtype, threads) for threads in THREADS),
                    format_interval(accuracy, 100, 1, " %"),
                    format_interval(drop["accuracy_drop"], 1, 2),
                    format_interval(drop["agreement"], 100, 1, " %"),
                    gate,
                ]
            )
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
            if dtype == "int8":
                preparation, split = network.preparation, run.split
                stored, entries = quantization.quantize_with_photos(
                    model, preparation, split, folder
                )
            else:
                stored = convert(model, dtype)
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
        allowed = quantization.measure_tolerances(onnx.load(file), birds)
        outputs = ", ".join(f"{name} {value}" for name, value in allowed.items())
        notes.append(f"Tolerance of {dtype} for other processors: {outputs}")
    return notes


def format_latency(milliseconds: dict, dtype: str, threads: int) -> str:
    """Format the median milliseconds, and in brackets the median ratio to fp32."""
    ratio = np.median(milliseconds[dtype, threads] / milliseconds["fp32", threads])
    return f"{np.median(milliseconds[dtype, threads]):.1f} ({ratio:.2f})"


def format_interval(figure: dict, factor: float, digits: int, unit: str = "") -> str:
    """Format a value and its interval."""
    ends = (factor * end + 0.0 for end in (figure["value"], *figure["interval"]))
    value, low, high = (f"{end:.{digits}f}" for end in ends)
    return f"{value}{unit} ({low} to {high})"


if __name__ == "__main__":
    typer.run(main)
