"""`fieldmark audit`: count species with intervals, from results and photos that a person checks."""

from pathlib import Path
from typing import Annotated

import typer

from birds.errors import UserError


def audit(
    results: Annotated[
        Path, typer.Argument(help="Folder that `predict --out` wrote.", metavar="RESULTS")
    ],
    draw: Annotated[
        int | None, typer.Option(min=1, help="Draw so many photos to check.", metavar="N")
    ] = None,
    checked: Annotated[
        Path | None,
        typer.Option(help="Table of drawn photos with the column species filled in."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="CSV file to write: the photos to check, or the counts.",
            metavar="FILE",
            show_default="with --draw the file of --checked, or checks.csv",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="With --draw: a page to check the photos on.", metavar="FILE"),
    ] = None,
    species: Annotated[
        str | None,
        typer.Option(help="With --draw and --checked: half of the draw is what this count needs."),
    ] = None,
    width: Annotated[
        float,
        typer.Option(
            min=1e-6,
            help="Wanted width of an interval, high - low: below 1 a share of the count, else "
            "photos.",
        ),
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Count species with valid 95 % intervals, by checking a few photos.

    First draw photos: by predicted label and certainty, more where the model is less sure. Fill in
    the column `species` of the table, or press buttons on the page and download the table: a name
    of the model's species, `other: NAME` for one that it does not know, or `none` for no bird.
    Then count: the model's probabilities of all photos, corrected by the checked ones. Counts are
    of photos, not of birds. A later draw with --checked adds photos to the table.

    The columns of the counts: species, scientific_name, predicted (photos that the model names so),
    count, low and high (95 % interval), seen (checked photos), more_checks (that an interval of the
    wanted width takes) and where (the strata with most of these).

    Examples:

        fieldmark audit results --draw 200 --out checks.csv --page checks.html
        fieldmark audit results --checked checks.csv --out counts.csv
        fieldmark audit results --checked checks.csv --draw 100
    """
    from fieldmark.bulk.results import Results

    opened = Results(results)
    if draw:
        from fieldmark.bulk.audit.draw import draw_checks

        table = out or checked or Path("checks.csv")
        drawn = draw_checks(opened, draw, table, page, checked, seed, species)
        typer.echo(f"{drawn:,} photos to check are in {table}{f' and {page}' if page else ''}.")
        return
    if not checked:
        raise UserError("Give --draw 200 to draw photos, or --checked FILE to count species.")
    if page or species:
        raise UserError("--page and --species need --draw.")
    from fieldmark.bulk.audit.checks import read_checks
    from fieldmark.bulk.audit.counts import tabulate_counts
    from fieldmark.bulk.audit.population import Population
    from fieldmark.files import write_text

    population = Population(opened)
    checks = read_checks(checked, population)
    table = tabulate_counts(population, checks, width)
    if out:
        write_text(out, table.to_csv(index=False, lineterminator="\n"))
    shown = table.drop(columns="scientific_name")
    shown[["count", "low", "high"]] = shown[["count", "low", "high"]].round().astype(int)
    shown["more_checks"] = shown["more_checks"].astype("string").fillna("")
    typer.echo(shown.to_string(index=False))
    filled = sum(check.species is not None for check in checks)
    typer.echo(
        f"{filled:,} of {len(population):,} photos are checked, {len(checks) - filled} blank."
    )
    if population.unreadable:
        typer.echo(f"{population.unreadable:,} photos could not be read, and are not counted.")
