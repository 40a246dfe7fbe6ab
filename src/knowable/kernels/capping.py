"""A cap on each weight of a row, what it cuts off going to the others."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["spread_cap_kernel"]


@njit(cache=True, nogil=True, error_model="numpy")
def spread_cap_kernel(x, most, out):
    """Each row's weights held within [-most, most], the others grown in proportion so that the sum of absolute values
    stays, as far as the cap lets it.

    So the answer is min(g abs(x), most) with the sign of x, at the growth g >= 1 that keeps the sum; where all are at
    the cap, the sum is smaller. Each round caps one or more, so there are at most as many as assets. A NaN stays NaN, a
    0 stays 0, an infinity makes its row NaN. What is below 1e-9 of the sum is dust of whatever made it, and stays: in
    proportion it would grow to the cap where all others have met it.
    """
    n_assets = x.shape[1]
    for t in range(x.shape[0]):
        whole, valid = 0.0, True
        for j in range(n_assets):
            if x[t, j] == x[t, j]:
                whole += abs(x[t, j])
        valid = whole < np.inf
        growth, n_capped, more, dust = 1.0, 0, True, 1e-9 * whole
        while more and valid:
            more, free, n_now = False, 0.0, 0
            for j in range(n_assets):
                if abs(x[t, j]) > dust:
                    if abs(x[t, j]) * growth > most:
                        n_now += 1
                    else:
                        free += abs(x[t, j])
            if n_now > n_capped and free > 0.0:
                n_capped, more = n_now, True
                growth = max(growth, (whole - n_capped * most) / free)
        for j in range(n_assets):
            size = min(abs(x[t, j]) * (growth if abs(x[t, j]) > dust else 1.0), most)
            made = size if x[t, j] > 0.0 else -size
            out[t, j] = made if x[t, j] == x[t, j] and valid else np.nan
            if x[t, j] == 0.0 and valid:
                out[t, j] = 0.0
