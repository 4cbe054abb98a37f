"""`fieldmark label`: write names beside photos, or sort photos into folders of species."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birds.errors import UserError

if TYPE_CHECKING:
    from fieldmark.bulk.results import Results


def label(
    results: Annotated[
        Path, typer.Argument(help="Folder that predict --out wrote.", metavar="RESULTS")
    ],
    xmp: Annotated[
        bool, typer.Option("--xmp", help="Write an XMP sidecar with keywords beside each photo.")
    ] = False,
    copy: Annotated[
        Path | None,
        typer.Option(help="Copy photos into folders of species in this one.", metavar="FOLDER"),
    ] = None,
    link: Annotated[
        Path | None,
        typer.Option(help="Make symbolic links to photos instead.", metavar="FOLDER"),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Remove all that this command wrote for these results.")
    ] = False,
) -> None:
    """Write the names of birds beside photos, or sort photos into folders of species.

    Photos themselves are never changed, moved or removed, and a file that this command did not
    write is never replaced. A sidecar of photo.jpg is photo.jpg.xmp, which darktable and digiKam
    read; Lightroom reads sidecars of raw photos only. Photos with a shortlist, unknown birds and
    unreadable photos get folders of their own.

    --undo removes what was written. Files that were changed since are kept and reported.

    Examples:

        fieldmark label results --xmp
        fieldmark label results --link sorted
        fieldmark label results --undo
    """
    from fieldmark.bulk.outputs.label_photos import open_journal, sort_photos, write_sidecars
    from fieldmark.bulk.results import Results
    from fieldmark.locking import lock_folder

    wanted = [xmp, copy is not None, link is not None]
    if undo == any(wanted) or (copy and link):
        raise UserError("Give --xmp, and either --copy or --link; or only --undo.")
    job = Results(results)
    if folder := copy or link:
        check_target(job, folder)
    lock_folder(job.folder, "written", "Wait until it is done.")
    if undo:
        removed, kept = open_journal(job).undo()
        for path in kept:
            typer.echo(f"{path} was changed since and is kept.", err=True)
        typer.echo(f"Removed {removed:,} files.")
        return
    with open_journal(job) as journal:
        if xmp:
            for message in write_sidecars(job, journal):
                typer.echo(message, err=True)
        if folder := copy or link:
            for message in sort_photos(job, journal, folder, "copy" if copy else "link"):
                typer.echo(message, err=True)


def check_target(results: "Results", folder: Path) -> None:
    """Raise UserError for a target in a folder of photos, where predict would list the copies."""
    for source in results.manifest["sources"]:
        place = Path(results.locate(source))
        if place.is_dir() and folder.resolve().is_relative_to(place.resolve()):
            raise UserError(
                f"{folder} is in {source}, where predict would find each photo twice. Choose a "
                "folder outside."
            )
