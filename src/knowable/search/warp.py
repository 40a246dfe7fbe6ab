"""Output warp: what a model sees instead of raw objective values."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from knowable.search.space import Floats

__all__ = ["half_rank"]


def half_rank(values: Floats) -> Floats:
    """Warp values to be minimised: the good half stays linear, the bad half becomes normal quantiles.

    Among the good, distances carry information; how bad a bad one is only misleads a model of the surface. Failed
    trials get the worst warped value.

    Args:
        values: (n,), lower is better; NaN: failed.

    Returns: (n,) finite, mean 0 and standard deviation 1, or all 0 when nothing differs. Ties stay ties.
    Source: the half-rank warp of Song et al., The Vizier Gaussian Process Bandit Algorithm (2024).
    """
    warped = np.zeros(len(values))
    valid = np.isfinite(values)
    if not valid.any():
        return warped
    good = values[valid]
    good = good / max(np.abs(good).max(), 1e-300)  # keeps squares of huge values finite
    median = np.median(good)
    _, inverse, counts = np.unique(good, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # ties share their average rank
    quantile = ndtri((rank - 0.5) / len(good))
    below = np.minimum(good - median, 0.0)
    lower = good < median
    scale = np.sqrt(np.mean(below[lower] ** 2)) if lower.any() else 1.0
    linear = below / scale if scale > 0 else below
    warped[valid] = np.where(good <= median, linear, np.maximum(quantile, 0.0)[inverse])
    warped[~valid] = warped[valid].max()
    spread = warped.std()
    return (warped - warped.mean()) / spread if spread > 1e-12 else np.zeros(len(values))
