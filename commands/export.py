"""`fieldmark export`: rebuild a run's model file without training."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from export.triton.config import Backend


class WeightsDtype(StrEnum):
    """Number formats of a model file's weights."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class Format(StrEnum):
    """File formats of a model."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"
    PT2 = "pt2"


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")],
    weights_dtype: Annotated[
        WeightsDtype | None,
        typer.Option(
            help="Number format of the weights. int8 also computes in 8 bits.",
            show_default="the run's own",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Another recipe for thresholds and scores. It must not need retraining.",
            metavar="FILE",
            show_default="the run's own",
        ),
    ] = None,
    new_preparation: Annotated[
        bool,
        typer.Option(
            "--new-preparation",
            help="Accept that photos are prepared differently than at training, for example by "
            "another version of Pillow, and record how.",
        ),
    ] = False,
    triton: Annotated[
        Path | None,
        typer.Option(
            help="Write the run's model file and finder as a model repository of NVIDIA's Triton "
            "server into this folder, and rebuild nothing. Needs no photos.",
            metavar="FOLDER",
        ),
    ] = None,
    triton_backend: Annotated[
        Backend | None,
        typer.Option(
            help="What computes the models there: Triton's own ONNX Runtime, or Python's.",
            show_default="onnxruntime",
        ),
    ] = None,
    format: Annotated[
        list[Format] | None,
        typer.Option(
            help="A further format, beside ONNX, in which model and finder are written and "
            "checked: torchscript, or pt2 of torch.export. Can be repeated.",
            show_default="onnx",
        ),
    ] = None,
) -> None:
    """Rebuild a run's birds.onnx from its weights and split, and check it at the gate.

    The run may be that of a finder. Needs the run's photos; FIELDMARK_PHOTOS names their folder
    where it has moved.

    Examples:

        fieldmark export runs/cub100
        fieldmark export runs/cub100 --weights-dtype int8
        fieldmark export runs/cub100 --format pt2
        fieldmark export runs/cub100 --triton runs/triton
    """
    if triton:
        if weights_dtype or recipe or new_preparation or format:
            raise typer.BadParameter("--triton rebuilds nothing: leave out the other options.")
        export_to_triton(run, triton, triton_backend or Backend.ONNXRUNTIME)
        return
    if triton_backend:
        raise typer.BadParameter("--triton-backend is only for --triton.")
    from export.finder import export_finder
    from export.rebuild import is_finder_run, rebuild_model
    from fieldmark.recipe import Recipe

    formats = [each.value for each in dict.fromkeys(format or []) if each != Format.ONNX]
    dtype = weights_dtype.value if weights_dtype else None
    if is_finder_run(run):
        if dtype or recipe or new_preparation:
            raise typer.BadParameter("the run of a finder has no other option than --format.")
        card = export_finder(run, formats)
    else:
        parameters = Recipe.load(recipe) if recipe else None
        card = rebuild_model(run, new_preparation, parameters, dtype, formats)
    typer.echo(f"{card['name']} {card['version']} passed the gate with {describe_gate(card)}.")
    if formats:
        for line in describe_copies(run):
            typer.echo(line)


def describe_gate(card: dict) -> str:
    """Describe how a species model or a finder passed the gate."""
    gate = card["gate"]
    finder, model = gate.get("largest_score_difference"), gate.get("largest_difference")
    values, largest = ("probabilities", model) if finder is None else ("scores", finder)
    return f"{gate['photos']:,} photos: {values} differ by at most {largest:.1e}"


def describe_copies(run: Path) -> Iterator[str]:
    """Yield path, size and gate of each file of a run in another format than ONNX."""
    from export.archive_card import load_card
    from fieldmark.run import Run

    for file in Run(run).further_files:
        if file.is_file():
            megabytes = file.stat().st_size / 1e6
            yield f"{file}, {megabytes:.1f} MB, passed with {describe_gate(load_card(file))}."


def export_to_triton(run: Path, folder: Path, backend: Backend) -> None:
    """Write a model repository, and say which model is in it."""
    from export.triton.repository import export_repository

    card, warning = export_repository(run, folder, backend)
    if warning:
        typer.echo(warning, err=True)
    name = f"{card['name']} {card['version']}"
    typer.echo(f"{name} is in {folder}, where README.md says how to serve it.")
