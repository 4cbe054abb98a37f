"""Measure how often the intervals of `fieldmark audit` contain the true counts.

    python -m benchmarks.audit [--draws 1000] [--checks 200] [--save]

Populations of 20,000 simulated photos of 20 known species, from frequent to rare; --checks of
them are checked in each draw. Probabilities are exact posteriors of simulated looks
(`calibrated`), or spoiled: `overconfident` ones are too sure by a factor of 2.5; in `confused
pairs` some photos of a species look like another one, of which the model knows nothing; `unknown
species` has 5 and 0.3 % photos of two species that the model does not know, and 5 % without a
bird; `rare species` has 16 species below 1 %. A species counts as rare below 1 % of the photos.
The interval to beat is Wilson's, of a simple random sample of as many photos.
"""

from typing import Annotated, NamedTuple

import numpy as np
import typer
from statsmodels.stats.proportion import proportion_confint

from benchmarks.results import Save, percent, report
from fieldmark.bulk.audit.allocation import LEAST, allocate, expected_deviation
from fieldmark.bulk.audit.intervals import Checked, Estimate, Strata
from fieldmark.bulk.audit.population import (
    FAIRLY_SURE,
    KNOWN_IF_CALLED_UNKNOWN,
    SURE,
    group_strata,
)
from fieldmark.statistics import wilson_interval

PHOTOS, SPECIES, CHECKS = 20_000, 20, 200
KINDS = ("calibrated", "overconfident", "rare species", "confused pairs", "unknown species")
PAIRS = ((0, 12), (1, 15), (2, 5))
EXTRA = 3  # two species that the model does not know, and no bird
SIGNAL, OVERCONFIDENCE = 4.0, 2.5
RARE = 0.01


class Simulated(NamedTuple):
    """Photos with their truth [N], probabilities [N, K], stratum [N], and the strata."""

    truth: np.ndarray
    probability: np.ndarray
    stratum: np.ndarray
    strata: Strata


def simulate(kind: str, seed: int = 0) -> Simulated:
    """Return a population of a kind."""
    generator = np.random.default_rng(seed)
    share = np.geomspace(1, 0.004, SPECIES)
    if kind == "rare species":
        share = np.concatenate([[1, 0.6, 0.4, 0.2], np.geomspace(0.01, 0.001, SPECIES - 4)])
    share /= share.sum()
    truth = generator.choice(SPECIES, PHOTOS, p=share)
    look = truth.copy()
    if kind == "confused pairs":
        for frequent, rarer in PAIRS:
            look[(truth == rarer) & (generator.random(PHOTOS) < 0.4)] = frequent
            look[(truth == frequent) & (generator.random(PHOTOS) < 0.03)] = rarer
    if kind == "unknown species":
        chance = generator.random(PHOTOS)
        for number, end in ((2, 0.103), (1, 0.053), (0, 0.05)):  # no bird, rarer, frequent
            truth[chance < end] = SPECIES + number
    signal = np.where(truth < SPECIES, SIGNAL, np.where(truth < SPECIES + 2, 0.9 * SIGNAL, 0.5))
    marks = generator.normal(size=(PHOTOS, SPECIES))
    marks[np.arange(PHOTOS), look] += signal
    sharper = OVERCONFIDENCE if kind == "overconfident" else 1
    logits = np.log(share) + sharper * SIGNAL * marks
    probability = np.exp(logits - logits.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    chance = np.array([*[0.06] * SPECIES, 0.6, 0.6, 0.95])[truth]
    return divide(truth, probability, generator.random(PHOTOS) < chance)


def divide(truth: np.ndarray, probability: np.ndarray, unknown: np.ndarray) -> Simulated:
    """Return photos in the strata of `fieldmark audit`; `unknown` ones the model rejects."""
    first = probability.max(1)
    level = np.where(first >= SURE, 0, np.where(first >= FAIRLY_SURE, 1, 2))
    level[unknown] = 3
    labels = [str(number) for number in range(SPECIES)]
    stratum, names = group_strata(probability.argmax(1), level, labels)
    probability = np.where(unknown, KNOWN_IF_CALLED_UNKNOWN, 1)[:, None] * probability
    probability = np.pad(probability, ((0, 0), (0, EXTRA)))
    members = np.eye(len(names))[stratum]
    levels = np.zeros(len(names), int)
    levels[stratum] = level
    variance = probability * (1 - probability)
    strata = Strata(members.sum(0), levels, members.T @ probability, members.T @ variance)
    return Simulated(truth, probability, stratum, strata)


def draw_checks(population: Simulated, count: int, generator: np.random.Generator) -> Checked:
    """Return a stratified sample, allocated as `fieldmark audit` does."""
    truth, probability, stratum, strata = population
    sizes = strata.sizes.astype(int)
    deviation = expected_deviation(strata.sizes, strata.variance)
    photos = allocate(sizes, deviation, count, np.full(len(sizes), LEAST))
    order = np.lexsort((generator.random(len(stratum)), stratum))
    starts = np.cumsum(sizes) - sizes
    chosen = np.concatenate([order[s : s + n] for s, n in zip(starts, photos, strict=True)])
    classes = probability.shape[1]
    return Checked(stratum[chosen], probability[chosen], np.eye(classes)[truth[chosen]], classes)


class Measured(NamedTuple):
    """Of each draw and species [D, K]: hits and widths of ours, and of Wilson's interval."""

    share: np.ndarray  # of the species, [K]
    hits: np.ndarray
    widths: np.ndarray
    wilson_hits: np.ndarray
    wilson_widths: np.ndarray


def measure(population: Simulated, draws: int, count: int = CHECKS, seed: int = 1) -> Measured:
    """Draw and estimate many times; species without photos are left out."""
    generator = np.random.default_rng(seed)
    classes = population.probability.shape[1]
    counts = np.bincount(population.truth, minlength=classes)
    total, present = counts.sum(), counts > 0
    ends = []
    for _ in range(draws):
        low, high = Estimate(
            population.strata, draw_checks(population, count, generator)
        ).interval()
        simple = generator.choice(population.truth, count, replace=False)
        seen = np.bincount(simple, minlength=classes)
        wilson = np.array(proportion_confint(seen, count, method="wilson")) * total
        ends.append([low, high, *wilson])
    low, high, wilson_low, wilson_high = np.array(ends)[..., present].swapaxes(0, 1)
    counts = counts[present]

    def hits(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low <= counts) & (counts <= high)

    return Measured(
        counts / total,
        hits(low, high),
        high - low,
        hits(wilson_low, wilson_high),
        wilson_high - wilson_low,
    )


def describe(kind: str, measured: Measured) -> list[list[str]]:
    """Return a row for the common and the rare species of a population."""
    rows = []
    rare = measured.share < RARE
    for name, chosen in (("common", ~rare), ("rare", rare)):
        hits = measured.hits[:, chosen]
        by_species = hits.mean(0)
        worst = wilson_interval(float(hits[:, by_species.argmin()].sum()), len(hits))
        ratio = measured.widths[:, chosen].mean(0) / measured.wilson_widths[:, chosen].mean(0)
        # Species of one draw are correlated: the interval is that of the draws' means.
        error = 1.96 * hits.mean(1).std(ddof=1) / np.sqrt(len(hits))
        mean = hits.mean()
        rows.append(
            [
                f"{kind}, {name}",
                str(int(chosen.sum())),
                f"{mean:.1%} ({max(0, mean - error):.1%} to {min(1, mean + error):.1%})".replace(
                    "%", " %"
                ),
                percent(worst),
                f"{measured.wilson_hits[:, chosen].mean():.1%}".replace("%", " %"),
                f"{ratio.mean():.2f}",
                f"{ratio.max():.2f}",
            ]
        )
    return rows


def main(
    draws: Annotated[int, typer.Option(min=2, help="Draws of each population.")] = 1000,
    checks: Annotated[int, typer.Option(min=100, help="Checked photos of each.")] = CHECKS,
    save: Save = False,
) -> None:
    """Print the coverage and the relative width of the intervals."""
    rows = [row for kind in KINDS for row in describe(kind, measure(simulate(kind), draws, checks))]
    columns = (
        *("population, species", "species", "covered (95 % interval of the simulation)"),
        *("least covered species", "Wilson, simple random sample"),
        *("width: ours / Wilson", "widest species"),
    )
    name = "audit" if checks == CHECKS else "audit-more"
    command = f"python -m benchmarks.audit --draws {draws} --checks {checks}"
    report(name, command, columns, rows, save)


if __name__ == "__main__":
    typer.run(main)
