"""`fieldmark publish`: copy a run's model to where the function serves it."""

from pathlib import Path
from typing import Annotated

import typer

from commands import PUBLISHED_MODEL


def publish(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")],
    to: Annotated[
        Path,
        typer.Option(
            help="Folder that receives the model, its weights, split and recipe.",
            metavar="FOLDER",
            show_default="azure_function/model",
        ),
    ] = PUBLISHED_MODEL.parent,
) -> None:
    """Publish a run: copy its model file, weights, split and recipe to the function.

    Refuses files that are not of one run or have not passed the gate.

    Example:

        fieldmark publish runs/cub100
    """
    from export.publish import publish as publish_run

    typer.echo(f"{publish_run(run, to)} is in {to}. Serve it: fieldmark serve")
