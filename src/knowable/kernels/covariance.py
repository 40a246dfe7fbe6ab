"""Covariance of assets over a window of returns: sample, and shrunk towards two targets.

A ring keeps the last `window` rows; an estimate is made from the rows in their order, from scratch each time it is
asked for, so that it hangs on nothing but the window. Rejected: sums kept up to date bar by bar, which drift.

All loops add rows in order over contiguous columns; none is a reduction that a compiler may reorder.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "ESTIMATORS",
    "RingState",
    "advance_kernel",
    "covariance_kernel",
    "gather_kernel",
    "ring_state",
    "usable_kernel",
]

ESTIMATORS = ("ledoit_wolf", "constant_correlation", "sample")  # kernels take the position
_IDENTITY, _CONSTANT, _SAMPLE = range(len(ESTIMATORS))


class RingState(NamedTuple):
    """The last rows of returns."""

    recent: np.ndarray  # (window, n_assets) a ring, the next row goes to the slot
    place: np.ndarray  # (2,) int64: slot, rows seen


def ring_state(window: int, n_assets: int) -> RingState:
    """State before the first row."""
    return RingState(np.full((window, n_assets), np.nan), np.zeros(2, np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def advance_kernel(returns, begin, end, recent, place):
    """Put rows [begin, end) into the ring."""
    window, n_assets = recent.shape
    for t in range(max(begin, end - window), end):
        slot = (place[0] + (t - begin)) % window
        for j in range(n_assets):
            recent[slot, j] = returns[t, j]
    place[0] = (place[0] + (end - begin)) % window
    place[1] += end - begin


@njit(cache=True, nogil=True, error_model="numpy")
def usable_kernel(recent, place, out):
    """Which assets have a finite return in every row of a full window, not all the same; how many. out: (n_assets,)."""
    window, n_assets = recent.shape
    count = 0
    for j in range(n_assets):
        out[j] = place[1] >= window
    for i in range(window):
        for j in range(n_assets):
            out[j] &= recent[i, j] - recent[i, j] == 0.0
    for j in range(n_assets):
        moves = False
        for i in range(1, window):
            moves |= recent[i, j] != recent[0, j]
        out[j] &= moves
        count += out[j]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def gather_kernel(recent, place, chosen, out):
    """The chosen columns, oldest row first. chosen: (k,) int64; out: (window, k)."""
    window = recent.shape[0]
    for i in range(window):
        slot = (place[0] + i) % window
        for c in range(chosen.shape[0]):
            out[i, c] = recent[slot, chosen[c]]


@njit(cache=True, nogil=True, error_model="numpy")
def covariance_kernel(x, how, out):
    """Covariance of the columns of x, whose means are taken away in place. Returns the shrinkage in [0, 1].

    Args: x: (n, k) returns, finite. how: position in ESTIMATORS. out: (k, k).

    - sample: divided by n - 1.
    - ledoit_wolf: (1 - s) S + s m I with S divided by n, m its mean variance, and s the estimate of what minimises the
      expected squared distance. Source: Ledoit and Wolf (2004), J. of Multivariate Analysis 88, lemma 3.3.
    - constant_correlation: the same towards equal correlations, all the mean one, with S's own variances. Source:
      Ledoit and Wolf (2004), "Honey, I shrunk the sample covariance matrix", J. of Portfolio Management 30(4),
      appendix B.
    """
    n, k = x.shape
    mean = np.zeros(k)
    for i in range(n):
        for j in range(k):
            mean[j] += x[i, j]
    for j in range(k):
        mean[j] /= n
    for i in range(n):
        for j in range(k):
            x[i, j] -= mean[j]
    _products(x, n - 1.0 if how == _SAMPLE else float(n), out)
    if how == _SAMPLE or k == 1:
        return 0.0
    if how == _IDENTITY:
        return _towards_identity(x, out)
    return _towards_equal_correlation(x, out)


@njit(cache=True, nogil=True, error_model="numpy")
def _products(x, divisor, out):
    """Four rows at a time: a sum is read and written once for four products."""
    n, k = x.shape
    whole = n - n % 4
    for a in range(k):
        for b in range(a + 1):
            out[a, b] = 0.0
        for i in range(0, whole, 4):
            first, second, third, fourth = x[i, a], x[i + 1, a], x[i + 2, a], x[i + 3, a]
            for b in range(a + 1):
                early = first * x[i, b] + second * x[i + 1, b]
                out[a, b] += early + (third * x[i + 2, b] + fourth * x[i + 3, b])
        for i in range(whole, n):
            value = x[i, a]
            for b in range(a + 1):
                out[a, b] += value * x[i, b]
        for b in range(a + 1):
            out[a, b] /= divisor
    for a in range(k):
        for b in range(a + 1, k):
            out[a, b] = out[b, a]


@njit(cache=True, nogil=True, error_model="numpy")
def _noise(x, out):
    """Sum over all pairs of the mean squared distance of a row's products from their mean, and that mean's square."""
    n, k = x.shape
    fourth, square = 0.0, 0.0
    for i in range(n):
        total = 0.0
        for j in range(k):
            total += x[i, j] * x[i, j]
        fourth += total * total
    for a in range(k):
        for b in range(k):
            square += out[a, b] * out[a, b]
    return fourth / n - square


@njit(cache=True, nogil=True, error_model="numpy")
def _towards_identity(x, out):
    n, k = x.shape
    mean = 0.0
    for j in range(k):
        mean += out[j, j] / k
    distance = 0.0
    for a in range(k):
        for b in range(k):
            gap = out[a, b] - (mean if a == b else 0.0)
            distance += gap * gap
    share = _share(_noise(x, out) / n, distance)
    for a in range(k):
        for b in range(k):
            out[a, b] *= 1.0 - share
        out[a, a] += share * mean
    return share


@njit(cache=True, nogil=True, error_model="numpy")
def _towards_equal_correlation(x, out):
    n, k = x.shape
    spread = np.empty(k)
    for j in range(k):
        spread[j] = np.sqrt(out[j, j])
    total = 0.0
    for a in range(k):
        for b in range(a):
            total += out[a, b] / (spread[a] * spread[b])
    level = total / (k * (k - 1) / 2.0)
    own, cross = 0.0, 0.0  # covariance of the target's entries with the sample's: variances, then all pairs
    for i in range(n):
        cubes, values = 0.0, 0.0
        for j in range(k):
            value = x[i, j]
            cube = value * value * value
            cubes += cube / spread[j]
            values += value * spread[j]
            own += value * cube / n
            cross -= value * cube / n
        cross += cubes * values / n
    for a in range(k):
        own -= out[a, a] * out[a, a]
        for b in range(k):
            if a != b:
                cross -= spread[b] / spread[a] * out[a, a] * out[a, b]
    distance = 0.0
    for a in range(k):
        for b in range(k):
            if a != b:
                gap = level * spread[a] * spread[b] - out[a, b]
                distance += gap * gap
    share = _share((_noise(x, out) - own - level * cross) / n, distance)
    for a in range(k):
        for b in range(k):
            if a != b:
                out[a, b] = (1.0 - share) * out[a, b] + share * level * (spread[a] * spread[b])
    return share


@njit(cache=True, nogil=True, error_model="numpy")
def _share(noise, distance):
    """Noise over distance within [0, 1]; 0 where the sample is the target already."""
    if not noise > 0.0:
        return 0.0
    return 1.0 if noise >= distance else noise / distance
