"""Decide how many photos of each stratum are checked."""

import numpy as np

LEAST = 2  # checked photos of a stratum
UNEXPECTED = 0.05  # variance beyond the model's own, so that no stratum is trusted blindly


def expected_deviation(sizes: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the expected standard deviation of a photo's truth in each stratum [H].

    `variance` [H, K] sums probability * (1 - probability); that of all species counts.
    """
    return np.sqrt(variance.sum(1) / sizes + UNEXPECTED)


def allocate(sizes: np.ndarray, deviation: np.ndarray, total: int, least: np.ndarray) -> np.ndarray:
    """Return Neyman's allocation (1934) of `total` photos to strata, whole numbers [H].

    A stratum gets photos in proportion to size * deviation, at least `least` [H] (fewer if it has
    fewer), at most all. Returns `least` if their sum is more than `total`.
    """
    least = np.minimum(least, sizes)
    total = int(min(total, sizes.sum()))
    weight = np.maximum(sizes * deviation, 1e-12)
    low, high = 0.0, float((sizes / weight).max())
    for _ in range(60):
        middle = (low + high) / 2
        enough = np.clip(middle * weight, least, sizes).sum() > total
        low, high = (low, middle) if enough else (middle, high)
    shares = np.clip(low * weight, least, sizes)
    photos = np.floor(shares + 1e-6).astype(int)
    for stratum in np.argsort(photos - shares, kind="stable"):
        photos[stratum] += photos.sum() < total and photos[stratum] < sizes[stratum]
    return photos
