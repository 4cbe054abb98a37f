"""`fieldmark compare`: compare finished runs on the photos that they share."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of finished runs, or of several, as a sweep has. Default: runs/.",
            metavar="RUN",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the page, tables and figures.", metavar="FOLDER")
    ] = Path("runs/comparison"),
    rounds: Annotated[
        int, typer.Option(min=1, help="Timings per model file; files take turns.", metavar="N")
    ] = 100,
    speed: Annotated[bool, typer.Option(help="Measure milliseconds per photo.")] = True,
) -> None:
    """Compare finished runs: accuracy, size, speed, training time, and paired tests.

    Prints the page as Markdown and writes it to index.md, with CSV tables and figures beside it.
    Only photos that evaluated both runs and trained neither count in a test.

    Examples:

        fieldmark compare
        fieldmark compare runs/cub100 runs/cub100-resnet18 --rounds 300
        fieldmark compare runs/quick-sweep
    """
    from fieldmark.evaluation.comparison.report import compare_runs
    from fieldmark.run import Run

    found = [run for folder in runs or [Path("runs")] for run in Run.find_in(folder)]
    typer.echo(compare_runs(Run.open_all(found), out, rounds if speed else 0))
    typer.echo(f"The page, tables and figures are in {out}.")
