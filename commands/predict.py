"""`fieldmark predict`: classify photo files without a server."""

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from birds.errors import UserError
from commands import PUBLISHED_MODEL

if TYPE_CHECKING:
    from birds.identifier import Identifier
    from fieldmark.bulk.classify import ClassifyOptions
    from fieldmark.bulk.job import FailureLimit

STANDARD_OUTPUT = Path("-")
MAX_WIDTH = 60  # characters of a path in a table


def predict(
    photos: Annotated[
        list[str],
        typer.Argument(
            help="Photo files, folders, patterns such as '2026/**/*.jpg', addresses such as "
            "s3://bucket/folder, or lists of photos (.csv, .parquet).",
            metavar="PHOTO|FOLDER|ADDRESS|LIST",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Write results here; the same command resumes.", metavar="FOLDER"),
    ] = None,
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
    exif: Annotated[
        bool, typer.Option("--exif", help="Add time, place and camera of each photo.")
    ] = False,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Add the features of each photo.")
    ] = False,
    column: Annotated[
        str | None, typer.Option(help="Column of a list with the paths.", show_default="path")
    ] = None,
    max_failures: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Stop if more than this share of photos cannot be read.", metavar="S"
        ),
    ] = 0.5,
    retry: Annotated[
        bool, typer.Option("--retry", help="Also classify photos again that could not be read.")
    ] = False,
    engine: Annotated[
        Literal["auto", "local", "ray"],
        typer.Option(help="Processes of this computer, or Ray; auto: Ray if there is an address."),
    ] = "auto",
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster.", metavar="ADDRESS")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes.", show_default="one per CPU", metavar="N")
    ] = None,
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

    Prints a table unless --out, --csv or --json is given. A photo that cannot be read is a row with
    its error; the exit status is 1 only if no photo could be read.

    --out writes Parquet files, from which `fieldmark convert` makes CSV, JSON, Camtrap DP and
    MegaDetector files. An interrupted job goes on when the same command is started again, and does
    no photo twice.

    Examples:

        fieldmark predict robin.jpg
        fieldmark predict photos/2026 --csv birds.csv
        fieldmark predict photos/2026 --json - | jq .
        fieldmark predict 's3://my-cameras/2026/**/*.jpg' --out results --exif
    """
    from birds.finder import default_finder
    from fieldmark.bulk.classify import ClassifyOptions
    from fieldmark.bulk.outputs.tables import write_csv, write_json
    from fieldmark.bulk.results import Results
    from fieldmark.bulk.run_job import EngineOptions, run_job
    from fieldmark.bulk.sources import list_photos
    from fieldmark.taxonomy import describe_unmatched

    if csv == json == STANDARD_OUTPUT:
        raise UserError("--csv - and --json - both print. Name a file for one of them.")
    model = model / PUBLISHED_MODEL.name if model.is_dir() else model
    finder = (finder or default_finder(model)) if crop == "auto" else None
    paths = list(list_photos(photos, column))
    if not paths:
        raise UserError(f"There are no photos in {', '.join(photos)}.")
    if not (out or csv or json) and (address or workers or exif or embedding or engine != "auto"):
        raise UserError(
            "--address, --engine, --workers, --exif and --embedding need --out, --csv or --json."
        )

    def notify(identifier: "Identifier") -> None:
        if crop == "auto" and (message := identifier.mismatch):
            typer.echo(message, err=True)
        if out and (message := describe_unmatched(identifier.classifier.card["labels"])):
            typer.echo(message, err=True)

    options = ClassifyOptions(
        model.resolve(), finder and finder.resolve(), crop, top, exif, embedding
    )
    if not (out or csv or json):
        failures = print_table(options, paths, max_failures, notify)
    else:
        with ExitStack() as stack:
            folder = out or temporary_results(stack, csv, json, [*photos, column or ""])
            where = EngineOptions(engine, address, workers)
            failures = run_job(folder, paths, photos, options, where, max_failures, retry, notify)
            if csv:
                write_csv(Results(folder), csv)
            if json:
                write_json(Results(folder), json, top)
    if out:
        typer.echo(f"{out} has the results of {len(Results(out)):,} photos.", err=True)
    if failures.failed:
        typer.echo(
            f"{failures.failed:,} of {failures.photos:,} photos could not be read.", err=True
        )
    if failures.photos and failures.failed == failures.photos:
        raise typer.Exit(1)


def temporary_results(
    stack: ExitStack, csv: Path | None, json: Path | None, sources: list[str]
) -> Path:
    """Return a folder for the results behind the files, deleted at the end unless interrupted.

    It lies beside the first file, so that the same command finds it again; its name depends on the
    sources, so that another command does not.
    """
    files = [file for file in (csv, json) if file and file != STANDARD_OUTPUT]
    if not files:
        return Path(stack.enter_context(tempfile.TemporaryDirectory())) / "results"
    digest = hashlib.sha256("\0".join(sources).encode("utf-8", "surrogateescape")).hexdigest()
    folder = files[0].with_name(f"{files[0].name}.{digest[:8]}.job")

    def delete(error: type | None, *_: object) -> None:
        if error is None:
            rmtree(folder)

    stack.push(delete)
    return folder


def print_table(
    options: "ClassifyOptions",
    paths: list[str],
    limit: float,
    notify: Callable[["Identifier"], None],
) -> "FailureLimit":
    """Print a line per photo, as they are classified."""
    from fieldmark.bulk.job import FailureLimit
    from fieldmark.bulk.run_job import classify_here, load_classifier

    classifier, failures = load_classifier(options), FailureLimit(limit)
    notify(classifier.identifier)
    width = min(MAX_WIDTH, max(map(len, paths)))
    print(f"{'photo':{width}}  answer")
    for table in failures.check_tables(classify_here(classifier, paths)):
        for row in table.select(["path", "text", "error"]).to_pylist():
            print(f"{row['path']:{width}}  {row['error'] or row['text']}", flush=True)
    return failures
