"""The Gaussian process of search written out densely, slowly and readably."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["covariance", "negative_log_likelihood", "posterior"]

Floats = NDArray[np.float64]


def covariance(
    a: Floats, b: Floats, is_choice: Sequence[bool], lengths: Sequence[float], amplitude: float, share: float
) -> Floats:
    """A joint Matérn-5/2 and the mean of one rational quadratic an axis, one pair of points at a time."""
    out = np.empty((len(a), len(b)))
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            gaps = [
                float(x != y) / length if choice else (x - y) / length
                for x, y, choice, length in zip(p, q, is_choice, lengths, strict=True)
            ]
            r = math.sqrt(5 * sum(gap**2 for gap in gaps))
            joint = (1 + r + r**2 / 3) * math.exp(-r)
            mains = sum((1 + gap**2 / 4) ** -2 for gap in gaps) / len(gaps)
            out[i, j] = amplitude * ((1 - share) * joint + share * mains)
    return out


def posterior(x: Floats, y: Floats, at: Floats, noise: float, **shape: Any) -> tuple[Floats, Floats]:
    """Mean and standard deviation at each row of `at`, by solving with the whole covariance matrix.

    `shape`: is_choice, lengths, amplitude and share, as `covariance` takes them.
    """
    own = covariance(x, x, **shape) + noise * np.eye(len(x))
    cross = covariance(at, x, **shape)
    mean = cross @ np.linalg.solve(own, y)
    variance = shape["amplitude"] - np.einsum("ij,ji->i", cross, np.linalg.solve(own, cross.T))
    return mean, np.sqrt(np.maximum(variance, 0.0))


def negative_log_likelihood(x: Floats, y: Floats, noise: float, **shape: Any) -> float:
    """Minus the log density of `y` under a normal distribution with mean 0 and the dense covariance."""
    own = covariance(x, x, **shape) + noise * np.eye(len(x))
    _, log_determinant = np.linalg.slogdet(2 * np.pi * own)
    return float(0.5 * y @ np.linalg.solve(own, y) + 0.5 * log_determinant)
