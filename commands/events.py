"""`fieldmark events`: one answer for photos that a camera took in quick succession."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def events(
    results: Annotated[Path, typer.Argument(help="Folder that `predict --out` wrote.")],
    interval: Annotated[
        float,
        typer.Option(min=0, help="Longest gap between photos of an event.", metavar="SECONDS"),
    ] = 60,
    camera: Annotated[
        Literal["folder", "exif"],
        typer.Option(help="What photos of one camera share: a folder, or the camera in EXIF."),
    ] = "folder",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write a .csv or .parquet file.",
            metavar="FILE",
            show_default="events.csv in RESULTS",
        ),
    ] = None,
) -> None:
    """Group photos of one camera into events, and name the bird of each event.

    The probabilities of an event are the means over its photos, as with `same_bird=true` in the
    HTTP API. Photos without a time are events of their own: `fieldmark predict --exif` reads times.
    Photos that could not be read are left out.

    Columns: event (the path of its first photo), camera, start, end, photos (how many), paths, and
    the columns of an answer as `fieldmark predict` writes them.

    Examples:

        fieldmark events results
        fieldmark events results --interval 300 --camera exif --out events.parquet
    """
    from fieldmark.bulk.events import find_events, write_events
    from fieldmark.bulk.results import Results

    found = find_events(Results(results), interval, camera)
    file = out or results / "events.csv"
    write_events(found.table, file)
    typer.echo(f"{len(found.table):,} events of {found.photos:,} photos: {file}")
    if found.undated:
        typer.echo(
            f"{found.undated:,} photos have no time and are events of their own. Times are read "
            "from EXIF by `fieldmark predict --exif`.",
            err=True,
        )
    if found.broken:
        typer.echo(f"{found.broken:,} photos could not be read and are left out.", err=True)
