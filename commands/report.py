"""`fieldmark report`: show what a job found on one page."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[
        Path, typer.Argument(help="Folder that `predict --out` wrote.", metavar="RESULTS")
    ],
    out: Annotated[Path, typer.Option(help="HTML file to write.", metavar="FILE")] = Path(
        "report.html"
    ),
    checked: Annotated[
        Path | None,
        typer.Option(help="Checked photos of `fieldmark audit`: counts get intervals."),
    ] = None,
    sheets: Annotated[
        int, typer.Option(min=0, help="Species with a contact sheet, most frequent first.")
    ] = 100,
) -> None:
    """Write a page with counts, activity, contact sheets, and the strangest photos.

    One HTML file with small copies of some photos, which are read from where they were; it needs no
    network and can be sent. Activity by day, hour and month needs `predict --exif`.

    Examples:

        fieldmark report results
        fieldmark report results --checked checks.csv --out summer.html
    """
    from fieldmark.bulk.report.page import write_report
    from fieldmark.bulk.results import Results

    opened = Results(results)
    counts = None
    if checked:
        from fieldmark.bulk.audit.checks import read_checks
        from fieldmark.bulk.audit.counts import tabulate_counts
        from fieldmark.bulk.audit.population import Population

        population = Population(opened)
        counts = tabulate_counts(population, read_checks(checked, population), 0.2)
    write_report(out, opened, counts, sheets)
    typer.echo(f"The report is in {out}.")
