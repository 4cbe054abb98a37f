"""Read and write the table of photos that a person checks, and draw the photos."""

import csv
import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fieldmark.bulk.audit.answers import AuditError, Names, Species
from fieldmark.bulk.audit.population import Population
from fieldmark.files import write_text

COLUMNS = ("path", "predicted", "stratum", "inclusion", "species")


class Check(NamedTuple):
    """A photo, by its number in the population, and what a person saw; None: not yet checked."""

    photo: int
    species: Species | None


def read_checks(file: Path, population: Population) -> list[Check]:
    """Return the rows of a table of checks; raises AuditError, which names the line."""
    if not file.is_file():
        raise AuditError(f"{file} does not exist. `fieldmark audit RESULTS --draw 200` writes it.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AuditError(f"{file} is not in UTF-8. Save it as CSV UTF-8.") from error
    header = text.split("\n", 1)[0]
    rows = csv.DictReader(
        io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ","
    )
    if not {"path", "species"} <= set(rows.fieldnames or ()):
        raise AuditError(f"{file} needs the columns path and species in its first line.")
    names, lines, checks = Names(population.cards), {}, []
    for row in rows:
        place, path = f"{file}, line {rows.line_num}", row["path"] or ""
        if path not in population.position:
            raise AuditError(
                f"{place}: {path or 'an empty path'} is no photo of these results that could be "
                "read. Check photos of the same results only, and leave the paths as they are."
            )
        if path in lines:
            raise AuditError(
                f"{place}: {path} is in line {lines[path]} too. Delete one of the two lines."
            )
        lines[path] = rows.line_num
        checks.append(Check(population.position[path], names.parse(row["species"] or "", place)))
    return checks


def write_checks(
    file: Path, checks: list[Check], population: Population, inclusion: np.ndarray
) -> None:
    """Write a table of checks; `inclusion` [H] is the probability of the photos of a stratum."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for photo, species in checks:
        stratum = population.stratum[photo]
        rows.writerow(
            [
                population.paths[photo],
                population.labels[population.label[photo]],
                population.names[stratum],
                f"{inclusion[stratum]:.6g}",
                species.answer if species else "",
            ]
        )
    write_text(file, text.getvalue())


def random_order(paths: list[str], seed: int) -> np.ndarray:
    """Return a random number between 0 and 1 of each path, the same in every draw."""
    key = str(seed).encode()
    digests = b"".join(
        hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
        for path in paths
    )
    return np.frombuffer(digests, "<u8") / 2.0**64


def draw_photos(
    population: Population, photos: np.ndarray, checked: np.ndarray, seed: int
) -> np.ndarray:
    """Return numbers of photos to check, so that `photos` [H] of each stratum are, in order.

    The first photos are one of each stratum, the most uncertain ones first; then strata take turns,
    so that any first part of the list is a stratified sample too.
    """
    drawn, turns = [], []
    waiting = np.ones(len(population), bool)
    waiting[checked] = False
    order = np.argsort(random_order(population.paths, seed), kind="stable")
    order = order[waiting[order]]
    done = np.bincount(population.stratum[checked], minlength=len(photos))
    by_stratum = order[np.argsort(population.stratum[order], kind="stable")]
    ends = np.cumsum(np.bincount(population.stratum[order], minlength=len(photos)))
    for stratum, (end, wanted) in enumerate(zip(ends, photos - done, strict=True)):
        start = ends[stratum - 1] if stratum else 0
        chosen = by_stratum[start : min(end, start + max(0, wanted))]
        drawn.append(chosen)
        first_of_all = done[stratum] == 0
        turns += [
            0.0 if first_of_all and number == 0 else (number + 1) / (len(chosen) + 1)
            for number in range(len(chosen))
        ]
    numbers = np.concatenate(drawn)
    certainty = -population.level[numbers]
    return numbers[np.lexsort((certainty, turns))]
