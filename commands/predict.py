"""`fieldmark predict`: classify photo files without a server."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from birds.errors import UserError
from commands import PUBLISHED_MODEL
from commands.results import STANDARD_OUTPUT, csv_writer, json_writer, table_writer


def predict(
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="Photo files, or folders that are searched for photos.", metavar="PHOTO|FOLDER"
        ),
    ],
    csv: Annotated[
        Path | None,
        typer.Option(help="Write a CSV file, one row per photo; - prints it.", metavar="FILE"),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="Write the HTTP API's results as JSON; - prints them.", metavar="FILE"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Labels per photo in the JSON.", metavar="N")] = 5,
    model: Annotated[
        Path,
        typer.Option(
            help="Model file, or folder of a run.",
            metavar="MODEL",
            show_default="the published model",
        ),
    ] = PUBLISHED_MODEL,
) -> None:
    """Name the birds in photos, without a server and without PyTorch.

    Prints a table unless --csv or --json is given. A photo that cannot be read is a row with its
    error; the exit status is 1 only if no photo could be read.

    CSV columns: path; kind (species, shortlist or unknown); label, common_name, scientific_name
    and probability of the first prediction; shortlist (all labels that the photo may show,
    separated by "; "); unknown_score (higher is less familiar); text (the answer in words); error.
    JSON adds `predictions`, the first N labels.

    Examples:

        fieldmark predict robin.jpg
        fieldmark predict photos/2026 --csv birds.csv
        fieldmark predict photos/2026 --json - | jq .
    """
    from birds.batch import classify_files, find_photos
    from birds.classifier import Classifier

    if csv == json == STANDARD_OUTPUT:
        raise UserError("--csv - and --json - both print. Name a file for one of them.")
    paths = list(find_photos(photos))
    if not paths:
        raise UserError(f"There are no photos in {', '.join(map(str, photos))}.")
    classifier = Classifier(model / PUBLISHED_MODEL.name if model.is_dir() else model)
    failed = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(csv_writer(csv))] if csv else []
        writers += [stack.enter_context(json_writer(json))] if json else []
        writers = writers or [stack.enter_context(table_writer(paths))]
        prints = STANDARD_OUTPUT in (csv, json) or not (csv or json)
        rows = stack.enter_context(
            typer.progressbar(
                classify_files(classifier, paths, top),
                length=len(paths),
                label="Photos",
                file=sys.stderr,
                hidden=prints or not sys.stderr.isatty(),
            )
        )
        for row in rows:
            failed += row["error"] is not None
            for write in writers:
                write(row)
    if failed:
        typer.echo(f"{failed:,} of {len(paths):,} photos could not be read.", err=True)
    if failed == len(paths):
        raise typer.Exit(1)
