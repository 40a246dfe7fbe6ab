"""Risk parity: weights of which each contributes its share of the portfolio's variance."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["risk_parity_kernel"]

_TOLERANCE = 1e-12  # of a share: how far its contribution may be off
_MOST_SWEEPS = 5_000
_SETTLED = 16  # sweeps after which the products are computed anew


@njit(cache=True, nogil=True, error_model="numpy")
def risk_parity_kernel(covariance, budget, out):
    """Positive weights of sum 1 whose contributions w_i (covariance @ w)_i are in proportion to the budget.

    Cyclical coordinate descent on 1/2 y'Cy - sum of b_i log y_i, whose minimum is unique where it exists: each step is
    the positive root of a quadratic. C is the correlation, so that assets' scales do not matter. Returns the number of
    sweeps, or -1 where it did not settle: some portfolio of positive weights has (almost) no risk, and no minimum.

    Source: Griveau-Billion, Richard, Roncalli (2013), "A fast algorithm for computing high-dimensional risk parity
    portfolios", arXiv:1311.4057; the objective without its root after Spinu (2013), "An algorithm for computing risk
    parity weights", SSRN 2297383.

    Args: covariance: (k, k), diagonal > 0. budget: (k,) > 0, of any sum. out: (k,).
    """
    k = covariance.shape[0]
    correlation, spread = np.empty((k, k)), np.empty(k)
    total = 0.0
    for a in range(k):
        spread[a] = np.sqrt(covariance[a, a])
        total += budget[a]
    for a in range(k):
        for b in range(k):
            correlation[a, b] = covariance[a, b] / (spread[a] * spread[b])
        correlation[a, a] = 1.0
    share, y, product = np.empty(k), np.empty(k), np.empty(k)
    for a in range(k):
        share[a] = budget[a] / total
        y[a] = np.sqrt(share[a])
    _multiply(correlation, y, product)
    risk = 0.0
    for a in range(k):
        risk += y[a] * product[a]
    if risk > 1e-12:  # begin with a portfolio of variance 1, which the answer has too
        for a in range(k):
            y[a] /= np.sqrt(risk)
            product[a] /= np.sqrt(risk)
    sweeps, found = 0, -1
    while sweeps < _MOST_SWEEPS and found < 0:
        _sweep(correlation, share, y, product)
        sweeps += 1
        if _worst(share, y, product) <= _TOLERANCE or sweeps % _SETTLED == 0:
            _multiply(correlation, y, product)
            if _worst(share, y, product) <= _TOLERANCE:
                found = sweeps
    total = 0.0
    for a in range(k):
        out[a] = y[a] / spread[a]
        total += out[a]
    for a in range(k):
        out[a] /= total
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _sweep(correlation, share, y, product):
    """One step of each coordinate; `product` is correlation @ y and stays so."""
    k = y.shape[0]
    for a in range(k):
        others = product[a] - y[a]
        root = np.sqrt(others * others + 4.0 * share[a])
        # the same root twice, each where it does not cancel
        new = 2.0 * share[a] / (others + root) if others > 0.0 else 0.5 * (root - others)
        step = new - y[a]
        y[a] = new
        for b in range(k):
            product[b] += correlation[a, b] * step


@njit(cache=True, nogil=True, error_model="numpy")
def _multiply(correlation, y, product):
    k = y.shape[0]
    for b in range(k):
        product[b] = 0.0
    for a in range(k):
        for b in range(k):
            product[b] += correlation[a, b] * y[a]


@njit(cache=True, nogil=True, error_model="numpy")
def _worst(share, y, product):
    """The largest distance of a contribution from its share, as a part of the share; NaN never passes."""
    worst = 0.0
    for a in range(y.shape[0]):
        gap = abs(y[a] * product[a] - share[a]) / share[a]
        if not gap <= worst:
            worst = gap
    return worst
