"""`fieldmark export`: rebuild a run's model file without training."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class WeightsDtype(StrEnum):
    """Number formats of a model file's weights."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


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
) -> None:
    """Rebuild a run's birds.onnx from its weights and split, and check it at the gate.

    Needs the run's photos; FIELDMARK_PHOTOS names their folder where it has moved.

    Examples:

        fieldmark export runs/cub100
        fieldmark export runs/cub100 --weights-dtype int8
    """
    from export.rebuild import rebuild_model
    from fieldmark.recipe import Recipe

    dtype = weights_dtype.value if weights_dtype else None
    parameters = Recipe.load(recipe) if recipe else None
    card = rebuild_model(run, new_preparation, parameters, dtype)
    gate = card["gate"]
    typer.echo(
        f"{card['name']} {card['version']} passed the gate with {gate['photos']:,} photos: "
        f"probabilities differ by at most {gate['largest_difference']:.1e}."
    )
