"""`fieldmark describe`: print what a model file's card says."""

from pathlib import Path
from typing import Annotated

import typer

from commands import PUBLISHED_MODEL


def describe(
    model: Annotated[
        Path,
        typer.Argument(
            help="A model file, or the folder of a run.",
            metavar="MODEL",
            show_default="the published model",
        ),
    ] = PUBLISHED_MODEL,
) -> None:
    """Describe a model file: species, metrics with 95 % intervals, data, licence, versions.

    Example:

        fieldmark describe runs/cub100
    """
    from birds.classifier import Classifier
    from birds.describe import describe as describe_card

    file = model / PUBLISHED_MODEL.name if model.is_dir() else model
    typer.echo(describe_card(Classifier(file).card, file))
