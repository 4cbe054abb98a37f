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

    The finder that an ONNX file is used with follows: the one beside it, else the published one.

    Examples:

        fieldmark describe runs/cub100
        fieldmark describe runs/cub100/birds.pt2
    """
    from birds.describe import describe as describe_card
    from birds.finder import default_finder
    from birds.identifier import Identifier
    from fieldmark.run_folder import FORMAT_SUFFIXES

    file = model / PUBLISHED_MODEL.name if model.is_dir() else model
    if file.name.endswith(tuple(FORMAT_SUFFIXES.values())):
        from export.archive_card import load_card

        typer.echo(describe_card(load_card(file), file))
        return
    finder_file = default_finder(file)
    identifier = Identifier.load(file, finder_file)
    typer.echo(describe_card(identifier.classifier.card, file))
    if finder_file and identifier.finder:
        typer.echo("\n" + describe_card(identifier.finder.card, finder_file))
    if identifier.mismatch:
        typer.echo("\n" + identifier.mismatch)
