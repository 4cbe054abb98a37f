"""Estimate counts from a model's probabilities and a stratified sample of checked photos.

The estimate is the model-assisted difference estimator (Särndal, Swensson and Wretman 1992, chapter
6), which stratified prediction-powered inference (Fisch et al. 2024; Angelopoulos et al. 2023) is
too: the sum of the model's probabilities, corrected in each stratum by what the checks add (gains:
photos of a species that the model denied) and remove (losses).

The normal interval covers too little where few errors were seen, and has no width where none was.
So gains and losses have an interval each, that of a binomial proportion (Clopper and Pearson) with
the sample size that has the same variance (Korn and Graubard 1998), and the two are combined by
MOVER (Zou and Donner 2008). Variances of strata are shrunk towards what the model expects, raised
by how much worse than expected it was on all checked photos, so that none is zero; the finite
population correction applies. benchmarks/audit.py measures the coverage.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import beta, norm
from scipy.stats import t as student

PRIOR_PHOTOS = 4.0  # weight of the model's variance, in checked photos of each stratum
UNSEEN_ERRORS = 1.0  # errors that each level of certainty is assumed to have beyond those seen
ERRORS_OF_ONE = 0.02  # share of unexpected errors that each species is assumed to gain
DEGREES_PER_EVENT = 2.0  # degrees of freedom of a variance for each gain or loss behind it
TINY = 1e-12


class Strata(NamedTuple):
    """What the model says of all photos, by stratum: H strata, K species.

    `sizes` [H] are photos, `levels` [H] number the certainty, `expected` [H, K] sums probabilities,
    `variance` [H, K] sums probability * (1 - probability).
    """

    sizes: np.ndarray
    levels: np.ndarray
    expected: np.ndarray
    variance: np.ndarray


class Checked(NamedTuple):
    """Checked photos: `stratum` [n], `probability` [n, K] of the model, `truth` [n, K], 0 or 1.

    The first `classes` columns exclude each other; those after them repeat parts of these.
    """

    stratum: np.ndarray
    probability: np.ndarray
    truth: np.ndarray
    classes: int


class Part(NamedTuple):
    """Gains or losses as shares of all photos: `mean` [K], with the `variance` of strata [H, K].

    `shrunk` [K] is the mean shrunken as the variance is; `inflation` [H, K] is added to the
    variance of the mean.
    """

    mean: np.ndarray
    variance: np.ndarray
    shrunk: np.ndarray
    inflation: np.ndarray


def sum_by_stratum(values: np.ndarray, stratum: np.ndarray, count: int) -> np.ndarray:
    """Return the sums [count, K] of rows [n, K] of each stratum."""
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, stratum, values)
    return sums


def measure_unexpected(strata: Strata, checked: Checked) -> tuple[np.ndarray, np.ndarray]:
    """Return how much worse the model is than it says, for each stratum by its level of certainty.

    That is the ratio of its squared errors to those expected, at least 1, and the errors a photo
    beyond those expected, never 0.
    """
    levels = strata.levels[checked.stratum]
    count = int(strata.levels.max()) + 1
    probability = checked.probability[:, : checked.classes]
    squared = ((checked.truth[:, : checked.classes] - probability) ** 2).sum(1)
    observed = np.bincount(levels, squared, count)
    expected = np.bincount(levels, (probability * (1 - probability)).sum(1), count)
    ratio = np.maximum(1, (observed + 1) / (expected + 1))
    photos = np.maximum(np.bincount(levels, minlength=count), 1)
    errors = (np.maximum(0, observed - expected) / 2 + UNSEEN_ERRORS) / photos
    return ratio[strata.levels][:, None], np.minimum(errors, 1)[strata.levels][:, None]


def measure_part(values: np.ndarray, prior: np.ndarray, strata: Strata, checked: Checked) -> Part:
    """Return the mean of values [n, K] over all photos, and its variance before sampling.

    The variance of a stratum is that of one photo; `prior` [H, K] is the mean to shrink towards.
    """
    stratum, count = checked.stratum, len(strata.sizes)
    photos = np.bincount(stratum, minlength=count)[:, None].astype(float)
    share = (strata.sizes / strata.sizes.sum())[:, None]
    sums, squares = (sum_by_stratum(each, stratum, count) for each in (values, values**2))
    spread = np.maximum(squares - sums**2 / photos, 0)
    prior = np.clip(prior, 0, 1)
    degrees = photos - 1 + PRIOR_PHOTOS
    variance = (spread + PRIOR_PHOTOS * prior * (1 - prior)) / degrees
    mean = (share * sums / photos).sum(0)
    shrunk = (share * (sums + PRIOR_PHOTOS * prior) / (photos + PRIOR_PHOTOS)).sum(0)
    seen = sampling_factor(strata, photos[:, 0])[:, None] * spread / degrees
    return Part(mean, variance, np.clip(shrunk, TINY, 1 - TINY), inflation(seen, sums))


def inflation(seen: np.ndarray, events: np.ndarray) -> np.ndarray:
    """Return by how much of the seen variances [H, K] the total is raised, [H, K].

    A variance that few events are behind is uncertain, which Student's t with Satterthwaite's
    degrees of freedom allows for.
    """
    total = seen.sum(0)
    behind = (seen**2 / (DEGREES_PER_EVENT * np.maximum(events, 1))).sum(0)
    degrees = np.maximum(total**2 / np.maximum(behind, 1e-300), 1)
    factor = (student.ppf(0.975, degrees) / norm.ppf(0.975)) ** 2 - 1
    return np.where(total > 0, seen * factor, 0)


def sampling_factor(strata: Strata, photos: np.ndarray) -> np.ndarray:
    """Return what the variance of one photo is multiplied by in that of the mean of all, [H]."""
    share = strata.sizes / strata.sizes.sum()
    return share**2 * (1 - photos / strata.sizes) / np.maximum(photos, TINY)


def part_interval(
    part: Part, strata: Strata, now: np.ndarray, photos: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends [K] of the interval of gains or losses.

    `now` [H] photos of each stratum gave the part; `photos` [H] is the sample to answer for, the
    same or a larger one.
    """
    factor = sampling_factor(strata, photos)[:, None]
    rescaled = factor / np.maximum(sampling_factor(strata, now)[:, None], 1e-300)
    variance = (factor * part.variance + np.minimum(rescaled, 1) * part.inflation).sum(0)
    heaviest = np.max(strata.sizes / strata.sizes.sum() * (1 - photos / strata.sizes) / photos)
    sample = part.shrunk * (1 - part.shrunk) / np.maximum(variance, 1e-300)
    sample = np.clip(sample, 1 / max(heaviest, TINY), 1 / TINY)
    hits = np.minimum(sample * part.mean, sample)
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, np.maximum(hits, TINY), sample - hits + 1)
    high = beta.ppf(1 - tail, hits + 1, np.maximum(sample - hits, TINY))
    possible = part.shrunk > 2 * TINY
    return np.where(hits > TINY, low, 0), np.where(possible, high, 0)


def select(part: Part, species: int) -> Part:
    """Return the part of one species."""
    column = slice(species, species + 1)
    return Part(*(values[..., column] for values in part))


class Estimate:
    """Counts of K species: `counts`, and intervals of this sample or a larger one."""

    def __init__(self, strata: Strata, checked: Checked):
        self.strata, self.total = strata, strata.sizes.sum()
        self.photos = np.bincount(checked.stratum, minlength=len(strata.sizes)).astype(float)
        self.seen = checked.truth.sum(0)
        ratio, errors = measure_unexpected(strata, checked)
        sizes = strata.sizes[:, None]
        expected = ratio * strata.variance / sizes
        gained = expected + ERRORS_OF_ONE * errors  # a gain may come from any stratum
        lost = expected + errors * strata.expected / sizes  # a loss, where the model expects it
        truth, probability = checked.truth, checked.probability
        self.gains = measure_part(truth * (1 - probability), gained, strata, checked)
        self.losses = measure_part((1 - truth) * probability, lost, strata, checked)
        share = strata.expected.sum(0) / self.total + self.gains.mean - self.losses.mean
        self.raw = share * self.total  # unbiased; may be below 0
        self.counts = np.clip(self.raw, self.seen, self.total - self.photos.sum() + self.seen)

    def interval(
        self, photos: np.ndarray | None = None, confidence: float = 0.95
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends [K] of the intervals; of a sample of `photos` [H] if given.

        What the checked photos show is certain, so no end contradicts it.
        """
        return self._ends(self.gains, self.losses, slice(None), photos, confidence)

    def width(self, species: int, photos: np.ndarray, confidence: float = 0.95) -> float:
        """Return the width that the interval of a species has if `photos` [H] are checked."""
        gains, losses = select(self.gains, species), select(self.losses, species)
        low, high = self._ends(gains, losses, slice(species, species + 1), photos, confidence)
        return float(high[0] - low[0])

    def deviation(self, species: int) -> np.ndarray:
        """Return the standard deviation of a photo's correction in each stratum [H]."""
        return np.sqrt(self.gains.variance[:, species] + self.losses.variance[:, species])

    def _ends(
        self, gains: Part, losses: Part, columns: slice, photos: np.ndarray | None, confidence
    ) -> tuple[np.ndarray, np.ndarray]:
        photos = self.photos if photos is None else photos.astype(float)
        raw, seen = self.raw[columns], self.seen[columns]
        low_gain, high_gain = part_interval(gains, self.strata, self.photos, photos, confidence)
        low_loss, high_loss = part_interval(losses, self.strata, self.photos, photos, confidence)
        below = np.hypot(gains.mean - low_gain, high_loss - losses.mean)
        above = np.hypot(high_gain - gains.mean, losses.mean - low_loss)
        most = self.total - self.photos.sum() + seen
        low = np.clip(raw - self.total * below, seen, most)
        return low, np.clip(raw + self.total * above, seen, most)
