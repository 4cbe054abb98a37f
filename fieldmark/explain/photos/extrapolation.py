"""Extrapolate learning curves by power laws, and measure how well that predicts."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fieldmark.explain.photos.learning_curves import LearningCurves

EXPONENTS = np.linspace(0.05, 2, 40)
MORE = 20  # photos per species whose gain is predicted, at most as many as there are
MIN_POINTS = 3  # to which a curve is fitted
ROUNDING = 1.05  # half of 23 photos is 12
LEVEL = 0.95
NORMAL = 1.96  # standard errors of a 95 % interval


class PowerLaw(NamedTuple):
    """Error rates a + b n^-c of n photos per species, for B curves: `a`, `b`, `c` [B].

    The form is that of Hestness et al., "Deep learning scaling is predictable, empirically" (2017).
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    def predict(self, photos: float) -> np.ndarray:
        """Return the error rates with a number of photos per species, [B]."""
        return self.a + self.b * photos**-self.c


def fit_power_law(
    photos: np.ndarray, error: np.ndarray, exponents: np.ndarray = EXPONENTS
) -> PowerLaw:
    """Fit power laws to error rates [B, P] with photos [P] per species, by least squares.

    `a` and `b` are not negative, `c` is one of `exponents`. An error rate e weighs 1 / (e (1 - e)),
    as of a proportion, with the mean e of all curves.
    """
    mean = error.mean(0).clip(0.01, 0.99)
    weight = 1 / (mean * (1 - mean))
    weight /= weight.sum()
    fits = [fit_lines(photos**-exponent, error, weight) for exponent in exponents]
    a, b, loss = (np.stack(values) for values in zip(*fits, strict=True))
    best = loss.argmin(0), np.arange(len(error))
    return PowerLaw(a[best], b[best], exponents[best[0]])


def fit_lines(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a, b >= 0 of the lines a + b x through y [B, P], and their losses, each [B].

    `weight` [P] sums to 1.
    """
    mean_x, mean_y = weight @ x, y @ weight
    variance = weight @ (x - mean_x) ** 2
    b = ((y - mean_y[:, None]) @ (weight * (x - mean_x)) / max(variance, 1e-12)).clip(0)
    a = mean_y - b * mean_x
    through_zero = y @ (weight * x) / (weight @ x**2)
    a, b = np.where(a < 0, 0, a), np.where(a < 0, through_zero, b)
    return a, b, (a[:, None] + b[:, None] * x - y) ** 2 @ weight


def predict_gain(photos: np.ndarray, accuracy: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the gain in accuracy [B] from `start` to `end` photos per species.

    `accuracy` [B, P] are curves at `photos` [P], in bootstrap samples or as measured.
    """
    law = fit_power_law(photos, 1 - accuracy)
    return law.predict(start) - law.predict(end)


def further_photos(photos: float) -> int:
    """Return for how many more photos per species a gain is predicted: never more than double.

    From half to all is a doubling, too, and how far the prediction was off there is all that is
    known of its errors.
    """
    return int(min(MORE, photos + 1e-6))  # a mean of 8 photos may be 7.999...


class Extrapolated(NamedTuple):
    """Gains from half of the photos to all, [B]: predicted by the curve up to half, and measured.

    `half` and `photos` are numbers of photos per species, `accuracy` [B] is the one predicted.
    """

    half: float
    photos: float
    predicted: np.ndarray
    measured: np.ndarray
    accuracy: np.ndarray


def extrapolate_half(photos: np.ndarray, accuracy: np.ndarray) -> Extrapolated | None:
    """Predict the last point of curves [B, P] from those up to half of its photos [P].

    Returns None if these are fewer than MIN_POINTS.
    """
    points = int((photos <= photos[-1] / 2 * ROUNDING).sum())
    if points < MIN_POINTS:
        return None
    law = fit_power_law(photos[:points], 1 - accuracy[:, :points])
    half, last = float(photos[points - 1]), float(photos[-1])
    predicted = law.predict(half) - law.predict(last)
    measured = accuracy[:, -1] - accuracy[:, points - 1]
    return Extrapolated(half, last, predicted, measured, 1 - law.predict(last))


def standard_error(photos: np.ndarray, samples: np.ndarray, n_test: int) -> float:
    """Return how much a measured gain differs from a predicted one by the choice of photos.

    `samples` [B, P] are curves of bootstrap samples of `n_test` photos. It is the standard
    deviation of the difference between both gains from half of the photos to all, and at least one
    photo. Where half is too little to extrapolate it is that of the accuracy, which is larger.
    """
    tested = extrapolate_half(photos, samples)
    difference = tested.measured - tested.predicted if tested else samples[:, -1]
    return max(float(difference.std()), 1 / n_test)


def validate_extrapolation(
    curves: LearningCurves, groups: dict[str, np.ndarray], seed: int = 0
) -> pd.DataFrame:
    """Compare gains that half of the photos predict with those that are measured.

    Columns: `group`, `n_test`, `half` and `photos` per species, the gains `predicted` and
    `measured`, `bootstrap_error` of the predicted gain, `error` of their difference, and the
    accuracies predicted and measured. Empty if curves are too short.
    """
    weights = curves.resample(seed)
    once = np.ones((1, len(curves.truth)))
    rows = []
    for name, labels in groups.items():
        photos = curves.photos_per_species(labels)
        measured, samples = (curves.of_group(labels, counts) for counts in (once, weights))
        tested, resampled = (extrapolate_half(photos, curve) for curve in (measured, samples))
        if not tested or not resampled:
            continue
        n_test = int(np.isin(curves.truth, labels).sum())
        rows.append(
            {
                "group": name,
                "n_test": n_test,
                "half": tested.half,
                "photos": tested.photos,
                "predicted": tested.predicted[0],
                "measured": tested.measured[0],
                "bootstrap_error": resampled.predicted.std(),
                "error": standard_error(photos, samples, n_test),
                "accuracy_predicted": tested.accuracy[0],
                "accuracy_measured": measured[0, -1],
            }
        )
    return pd.DataFrame(rows)


def residual_scores(validation: pd.DataFrame, error: str = "error") -> np.ndarray:
    """Return |measured - predicted| of each group in half widths of its interval, [G]."""
    difference = (validation["measured"] - validation["predicted"]).abs()
    return (difference / (NORMAL * validation[error].clip(1e-9))).to_numpy(float)


def widening_factor(scores: np.ndarray, level: float = LEVEL) -> float:
    """Return the factor that makes intervals of half width 1 cover scores [G], at least 1.

    It is the quantile of split conformal prediction for residuals divided by their scale
    (Papadopoulos et al. 2008).
    """
    rank = min(int(np.ceil((len(scores) + 1) * level)), len(scores))
    return max(1.0, float(np.sort(scores)[rank - 1])) if len(scores) else 1.0


def widening_factors(scores: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return the factor that the other groups give to each, [G]."""
    return np.array([widening_factor(np.delete(scores, i), level) for i in range(len(scores))])
