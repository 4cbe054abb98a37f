"""Count species from checked photos and all results, and plan further checks."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fieldmark.bulk.audit.allocation import LEAST, allocate, expected_deviation
from fieldmark.bulk.audit.answers import NONE, AuditError
from fieldmark.bulk.audit.checks import Check
from fieldmark.bulk.audit.intervals import Checked, Estimate, Strata
from fieldmark.bulk.audit.population import Population

NO_BIRD, ANY_OTHER = "(no bird)", "(species that the model does not know)"
FEWEST_PHOTOS = 0.5  # that the model must expect of a species for a row without any seen
SHOWN_STRATA = 3  # of an allocation, those with most photos


class Count(NamedTuple):
    """An estimate, with the names of its K columns: labels, any other species, no bird, others."""

    names: list[str]
    estimate: Estimate


def estimate_counts(population: Population, checks: list[Check]) -> Count:
    """Return the counts of all species; raises AuditError if a stratum has no checked photo."""
    checks = [check for check in checks if check.species]
    photos = np.array([check.photo for check in checks], int)
    stratum = population.stratum[photos]
    missing = set(range(len(population.names))) - set(stratum.tolist())
    if missing:
        some = "; ".join(population.names[number] for number in sorted(missing)[:SHOWN_STRATA])
        raise AuditError(
            f"No photo is checked yet of {len(missing)} of {len(population.names)} strata, such as "
            f"{some}. Fill in the column species from the top; the first lines are one photo of "
            "each stratum. `fieldmark audit RESULTS --draw` with --checked adds missing ones."
        )
    named = sorted({check.species.name for check in checks if check.species} - {""})
    known = len(population.labels)
    truth = np.zeros((len(checks), known + 2 + len(named)))
    for row, (_, species) in enumerate(checks):
        if species is None:
            continue
        if species.label is not None:
            truth[row, species.label] = 1
        elif species.answer == NONE:
            truth[row, known + 1] = 1
        else:
            truth[row, known] = 1
            if species.name:
                truth[row, known + 2 + named.index(species.name)] = 1
    extra = ((0, 0), (0, truth.shape[1] - known))
    sizes, levels, expected, variance = population.strata
    strata = Strata(sizes, levels, np.pad(expected, extra), np.pad(variance, extra))
    probability = np.pad(population.probabilities(photos), extra)
    names = [*population.labels, ANY_OTHER, NO_BIRD, *named]
    return Count(names, Estimate(strata, Checked(stratum, probability, truth, known + 2)))


def tabulate_counts(population: Population, checks: list[Check], width: float) -> pd.DataFrame:
    """Return a row of each species: its count with the interval, and the checks it would take.

    `width` is that of the interval which `more_checks` photos reach: below 1 a share of the count,
    else photos. `where` names the strata with most of them. Raises AuditError.
    """
    names, estimate = estimate_counts(population, checks)
    low, high = estimate.interval()
    known = len(population.labels)
    expected = estimate.strata.expected.sum(0)
    predicted = np.bincount(population.label[~population.unknown], minlength=len(names))
    rows = []
    for number, name in enumerate(names):
        if number not in (known, known + 1) and not (
            expected[number] >= FEWEST_PHOTOS or estimate.seen[number]
        ):
            continue
        more, where = plan_checks(estimate, number, width, population.names)
        rows.append(
            {
                "species": name,
                "scientific_name": (population.cards[number].get("scientific_name") or "")
                if number < known
                else "",
                "predicted": int(predicted[number]),
                "count": round(float(estimate.counts[number]), 1),
                "low": round(float(low[number]), 1),
                "high": round(float(high[number]), 1),
                "seen": int(estimate.seen[number]),
                "more_checks": more,
                "where": where,
            }
        )
    table = pd.DataFrame(rows).astype({"more_checks": "Int64"})
    return table.sort_values(["count", "high"], ascending=False, kind="stable", ignore_index=True)


def plan_checks(
    estimate: Estimate, species: int, width: float, names: list[str]
) -> tuple[int | None, str]:
    """Return how many more checks reach a width of a species' interval, and where they are.

    Supposes that further checks show what the earlier ones did. None if the count is 0, of which
    there is no share.
    """
    count = float(estimate.counts[species])
    if width < 1 and count < 1:
        return None, "a share of 0 photos is none: give --width in photos"
    wanted = width * count if width < 1 else width
    now, sizes = estimate.photos.astype(int), estimate.strata.sizes.astype(int)
    deviation = estimate.deviation(species)
    low, high = int(now.sum()) - 1, int(sizes.sum())
    while high - low > 1:
        middle = (low + high) // 2
        photos = allocate(sizes, deviation, middle, now)
        narrow = estimate.width(species, photos) <= wanted
        low, high = (low, middle) if narrow else (middle, high)
    more = allocate(sizes, deviation, high, now) - now
    largest = [number for number in np.argsort(-more, kind="stable") if more[number]]
    where = "; ".join(f"{names[number]}: {more[number]}" for number in largest[:SHOWN_STRATA])
    return int(more.sum()), where + ("; ..." if len(largest) > SHOWN_STRATA else "")


def plan_draw(
    population: Population, checks: list[Check], count: int, species: int | None = None
) -> np.ndarray:
    """Return how many photos of each stratum are checked when `count` more are, [H].

    By what the model expects of all species, half of them by what earlier checks show of one if
    `species` is given. Raises AuditError if `count` is too small.
    """
    done = np.bincount(
        population.stratum[[check.photo for check in checks if check.species]].astype(int),
        minlength=len(population.names),
    )
    strata = population.strata
    sizes = strata.sizes.astype(int)
    least = np.maximum(done, np.minimum(LEAST, sizes))
    if (needed := int((least - done).sum())) > count:
        raise AuditError(
            f"These results have {len(sizes)} strata, of which {LEAST} photos each must be "
            f"checked. Draw at least {needed} photos."
        )
    total = int(done.sum()) + count
    deviation = expected_deviation(sizes, strata.variance)
    if species is None:
        return allocate(sizes, deviation, total, least)
    # Strata whose errors no check showed yet get half, or intervals would cover too little.
    half = allocate(sizes, deviation, total - count // 2, least)
    deviation = estimate_counts(population, checks).estimate.deviation(species)
    return allocate(sizes, deviation, total, half)
