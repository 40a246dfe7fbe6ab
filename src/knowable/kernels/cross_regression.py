"""What is left of a row after its least squares on an intercept and other rows."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from knowable.kernels.cross_section import unit_of

__all__ = ["neutralize_kernel"]

# What keeps less than this of its spread, or has less spread than this of its size, counts as a combination of the
# others (R's lm: 1e-7 of a column that is not centred; ours are). Rounding leaves about 1e-16 of an exact one.
_OWN = 1e-10
_ROUNDING = 1e-14  # a residual that is less than this of the row is 0: an asset that a feature singles out, say
_HUGE, _TINY = 1e100, 1e-100  # beyond these, squares may overflow or vanish


@njit(cache=True, nogil=True, error_model="numpy")
def _dot(a, b, n):
    """Sum of products, in four interleaved sums, which the processor adds at once."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    whole = n - n % 4
    for p in range(0, whole, 4):
        s0 += a[p] * b[p]
        s1 += a[p + 1] * b[p + 1]
        s2 += a[p + 2] * b[p + 2]
        s3 += a[p + 3] * b[p + 3]
    for p in range(whole, n):
        s0 += a[p] * b[p]
    return (s0 + s1) + (s2 + s3)


@njit(cache=True, nogil=True, error_model="numpy")
def _sum(v, n):
    """Sum, interleaved as in `_dot`."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    whole = n - n % 4
    for p in range(0, whole, 4):
        s0 += v[p]
        s1 += v[p + 1]
        s2 += v[p + 2]
        s3 += v[p + 3]
    for p in range(whole, n):
        s0 += v[p]
    return (s0 + s1) + (s2 + s3)


@njit(cache=True, nogil=True, error_model="numpy")
def _largest(v, n):
    """The largest absolute value, of even and odd places apart, for the same reason."""
    even, odd = 0.0, 0.0
    for p in range(0, n - 1, 2):
        here, there = abs(v[p]), abs(v[p + 1])
        even = here if here > even else even  # noqa: FURB136 - max must ask for NaN, of which there is none
        odd = there if there > odd else odd  # noqa: FURB136
    return max(even, odd, abs(v[n - 1]))


@njit(cache=True, nogil=True, error_model="numpy")
def _center(v, n):
    """Take off the mean in place; the power of two it was multiplied by first (mostly 1), and its largest value."""
    high = _largest(v, n)
    unit = 1.0
    if high > _HUGE or 0.0 < high < _TINY:
        unit = unit_of(high)
    anchor = v[0] * unit
    for p in range(n):
        v[p] = v[p] * unit - anchor  # sums of differences: equal values have exactly no spread
    mean = _sum(v, n) / n
    for p in range(n):
        v[p] -= mean
    return unit, high * unit


@njit(cache=True, nogil=True, error_model="numpy")
def _take_off(v, basis, n_kept, n, n_times):
    """Take the mean and the first rows of the basis off v, in place; its length then, its unit, and what counts as 0.

    The length is 0, and v to be taken for 0, where only rounding can be left.
    """
    unit, high = _center(v, n)
    whole = math.sqrt(_dot(v, v, n))
    for _ in range(n_times):
        for k in range(n_kept):
            part = _dot(basis[k], v, n)
            for p in range(n):
                v[p] -= part * basis[k, p]
    own = math.sqrt(_dot(v, v, n)) if n_kept > 0 else whole
    own = own if own > _OWN * whole and whole > _OWN * high * math.sqrt(n) else 0.0
    return own, unit, _ROUNDING * (whole + high)


@njit(cache=True, nogil=True, error_model="numpy")
def _join(basis, n_kept, n):
    """Make row `n_kept` of the basis orthonormal to those before it and to a constant; whether anything was left of it.

    Modified Gram-Schmidt, done twice: then it is orthogonal to the last digits however little was left (Giraud,
    Langou, Rozloznik, 2005).
    """
    v = basis[n_kept]
    own, _, _ = _take_off(v, basis, n_kept, n, 2)
    if own > 0.0:
        for p in range(n):
            v[p] /= own
    return own > 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def neutralize_kernel(x, by, out):
    """Residual of each row of x, by least squares on an intercept and the rows by[0], by[1], ...

    Assets where any of them is NaN or infinite are left out and NaN. A feature that is constant or a combination of
    those before it adds nothing. NaN throughout unless there are more assets than terms, the intercept one of them:
    fewer would be fitted exactly. A row that is itself such a combination leaves 0, and so does an
    asset that is fitted exactly: not their rounding.

    `by` is (n_features, n_bars, n_assets).
    """
    n_features, n_bars, n_assets = by.shape
    basis, left = np.empty((n_features, n_assets)), np.empty(n_assets)
    gap, tag = np.empty(n_assets), np.empty(n_assets, np.int64)
    for t in range(n_bars):
        n = 0
        for j in range(n_assets):
            out[t, j] = np.nan
            gap[j] = x[t, j] - x[t, j]
        for k in range(n_features):
            for j in range(n_assets):
                gap[j] += by[k, t, j] - by[k, t, j]
        for j in range(n_assets):
            tag[n] = j
            n += 1 if gap[j] == 0.0 else 0
        n_kept = 0
        for k in range(n_features):
            if n > n_kept + 1:
                for p in range(n):
                    basis[n_kept, p] = by[k, t, tag[p]]
                n_kept += 1 if _join(basis, n_kept, n) else 0
        if n <= n_kept + 1:
            continue
        for p in range(n):
            left[p] = x[t, tag[p]]
        own, unit, nothing = _take_off(left, basis, n_kept, n, 1)
        for p in range(n):
            out[t, tag[p]] = left[p] / unit if own > 0.0 and abs(left[p]) > nothing else 0.0
