"""`fieldmark predict`: classify photo files without a server."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

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
    crop: Annotated[
        Literal["auto", "center"],
        typer.Option(help="Look at the bird that the finder finds, or at the middle square."),
    ] = "auto",
    model: Annotated[
        Path,
        typer.Option(
            help="Model file, or folder of a run.",
            metavar="MODEL",
            show_default="the published model",
        ),
    ] = PUBLISHED_MODEL,
    finder: Annotated[
        Path | None,
        typer.Option(
            help="Model file of the finder.",
            metavar="FINDER",
            envvar="FIELDMARK_FINDER",
            show_default="the one beside the model, else the published one",
        ),
    ] = None,
) -> None:
    """Name the birds in photos, without a server and without PyTorch.

    Prints a table unless --csv or --json is given. A photo that cannot be read is a row with its
    error; the exit status is 1 only if no photo could be read.

    CSV columns: path; kind (species, shortlist or unknown); label, common_name, scientific_name
    and probability of the first prediction; shortlist (all labels that the photo may show,
    separated by "; "); unknown_score (higher is less familiar); text (the answer in words); crop
    (left,top,width,height of the square that was classified, in pixels of the upright photo) and
    crop_from (finder or center); error. JSON adds `predictions`, the first N labels.

    Examples:

        fieldmark predict robin.jpg
        fieldmark predict photos/2026 --csv birds.csv
        fieldmark predict photos/2026 --json - | jq .
    """
    from birds.batch import classify_files, find_photos
    from birds.finder import default_finder
    from birds.identifier import Identifier

    if csv == json == STANDARD_OUTPUT:
        raise UserError("--csv - and --json - both print. Name a file for one of them.")
    paths = list(find_photos(photos))
    if not paths:
        raise UserError(f"There are no photos in {', '.join(map(str, photos))}.")
    model = model / PUBLISHED_MODEL.name if model.is_dir() else model
    finder = (finder or default_finder(model)) if crop == "auto" else None
    identifier = Identifier.load(model, finder)
    if crop == "auto" and (message := identifier.mismatch):
        typer.echo(message, err=True)
    failed = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(csv_writer(csv))] if csv else []
        writers += [stack.enter_context(json_writer(json))] if json else []
        writers = writers or [stack.enter_context(table_writer(paths))]
        prints = STANDARD_OUTPUT in (csv, json) or not (csv or json)
        rows = stack.enter_context(
            typer.progressbar(
                classify_files(identifier, paths, top, crop),
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
