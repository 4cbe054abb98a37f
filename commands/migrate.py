"""`fieldmark migrate`: bring the files of an older run to the current format."""

from pathlib import Path
from typing import Annotated

import typer


def migrate(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN")],
) -> None:
    """Bring the card, split, recipe and file names of older runs to the current format.

    The network does not change: the model file gives bit-equal outputs. A run that is up to date
    is left as it is, and a run that cannot be migrated is not touched.

    Example:

        fieldmark migrate runs/cub100 azure_function/model
    """
    from fieldmark.migration import migrate_run

    for run in runs:
        changes = migrate_run(run)
        typer.echo(f"{run}: {', '.join(changes) if changes else 'is up to date'}")
