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

    The finder that it is used with follows: the one beside it, else the published one.

    Example:

        fieldmark describe runs/cub100
    """
    from birds.describe import describe as describe_card
    from birds.finder import default_finder
    from birds.identifier import Identifier

    file = model / PUBLISHED_MODEL.name if model.is_dir() else model
    finder_file = default_finder(file)
    identifier = Identifier.load(file, finder_file)
    typer.echo(describe_card(identifier.classifier.card, file))
    if finder_file and identifier.finder:
        typer.echo("\n" + describe_card(identifier.finder.card, finder_file))
    if identifier.mismatch:
        typer.echo("\n" + identifier.mismatch)
