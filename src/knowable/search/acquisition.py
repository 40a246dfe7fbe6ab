"""How much a candidate is worth trying, from the posterior mean and standard deviation at it."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, ndtr

from knowable.search.space import Floats

__all__ = ["log_expected_improvement"]


def log_expected_improvement(mean: Floats, sd: Floats, best: float) -> Floats:
    """Logarithm of the expected improvement below `best`; it stays finite and sloped where the improvement underflows.

    Args:
        mean, sd: (m,) posterior at the candidates; sd > 0.
        best: value to improve on.

    Source: Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization (2023).
    """
    z = (best - mean) / sd
    out = np.empty_like(z)
    near = z > -1.0
    zn = z[near]
    out[near] = np.log(np.exp(-0.5 * zn * zn) / math.sqrt(2 * math.pi) + zn * ndtr(zn))
    zf = -z[~near]
    ratio = zf * erfcx(zf / math.sqrt(2)) * math.sqrt(math.pi / 2)  # in (0, 1), near 1 - 1/z^2
    rest = np.where(zf < 1e3, 1.0 - np.minimum(ratio, 1.0 - 1e-12), 1.0 / np.maximum(zf, 1.0) ** 2)
    out[~near] = -0.5 * zf * zf - 0.5 * math.log(2 * math.pi) + np.log(rest)
    return out + np.log(sd)
