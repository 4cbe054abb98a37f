"""Draw photos to check, after earlier draws or none, and write them as a table and a page."""

from pathlib import Path

import numpy as np

from fieldmark.bulk.audit.answers import AuditError, Names
from fieldmark.bulk.audit.checks import Check, draw_photos, read_checks, write_checks
from fieldmark.bulk.audit.counts import plan_draw
from fieldmark.bulk.audit.page import write_page
from fieldmark.bulk.audit.population import Population
from fieldmark.bulk.results import Results


def draw_checks(
    results: Results,
    count: int,
    out: Path,
    page: Path | None = None,
    earlier: Path | None = None,
    seed: int = 0,
    species: str | None = None,
) -> int:
    """Write a table of photos to check, below those checked `earlier`; return how many are new.

    Rows of an earlier draw that nobody filled in are drawn anew. With `species`, half of the
    photos are those that its count gains most from, by the earlier checks. The page shows new
    photos only. Raises AuditError if `out` exists and is not `earlier`.
    """
    if out.exists() and not (earlier and earlier.exists() and out.samefile(earlier)):
        raise AuditError(
            f"{out} exists and may have answers. Give it as --checked to add photos to it, or "
            "another file as --out."
        )
    population = Population(results)
    checks = read_checks(earlier, population) if earlier else []
    checks = [check for check in checks if check.species]
    number = find_label(species, population) if species else None
    photos = plan_draw(population, checks, count, number)
    checked = np.array([check.photo for check in checks], int)
    drawn = [Check(int(n), None) for n in draw_photos(population, photos, checked, seed)]
    inclusion = photos / population.strata.sizes
    write_checks(out, [*checks, *drawn], population, inclusion)
    if page:
        shares = [f"{inclusion[population.stratum[check.photo]]:.6g}" for check in drawn]
        write_page(page, results, population, drawn, shares)
    return len(drawn)


def find_label(species: str, population: Population) -> int:
    """Return the number of a species that the model knows; raises AuditError."""
    found = Names(population.cards).parse(species, "--species")
    if found is None or found.label is None:
        raise AuditError("--species: Write the name of a species that the model knows.")
    return found.label
