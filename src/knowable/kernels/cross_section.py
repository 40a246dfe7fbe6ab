"""Functions of one row across its assets: ranks, shares, means, quantiles. NaN is skipped; rows never meet."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from knowable.kernels.sorting import sort_row, sort_space

__all__ = [
    "bucket_kernel",
    "center_kernel",
    "cross_count_kernel",
    "cross_mean_kernel",
    "cross_sum_kernel",
    "out_of_range",
    "pct_rank_kernel",
    "rank_kernel",
    "scale_kernel",
    "top_kernel",
    "unit_of",
    "winsorize_kernel",
]


@njit(cache=True, nogil=True, error_model="numpy")
def rank_kernel(x, descending, out):
    """Rank within the row, 1 the smallest (or largest), ties their average; NaN where x is NaN."""
    _rank(x, descending, False, out)


@njit(cache=True, nogil=True, error_model="numpy")
def pct_rank_kernel(x, descending, out):
    """Rank within the row over the number of its values: within (0, 1]; NaN where x is NaN."""
    _rank(x, descending, True, out)


@njit(cache=True, nogil=True, error_model="numpy")
def _rank(x, descending, shared, out):
    space = sort_space(x.shape[1])
    key, tag = space.key, space.tag
    for t in range(x.shape[0]):
        n = sort_row(x[t], space)
        for j in range(x.shape[1]):
            out[t, j] = np.nan
        whole = float(n) if shared else 1.0
        i = 0
        while i < n:
            end = i + 1
            while end < n and key[end] == key[i]:
                end += 1
            rank = 0.5 * (i + 1 + end)
            rank = n + 1 - rank if descending else rank
            for p in range(i, end):
                out[t, tag[p]] = rank / whole
            i = end


@njit(cache=True, nogil=True, error_model="numpy")
def bucket_kernel(x, n_buckets, out):
    """Bucket 1 to n_buckets by rank; NaN where x is NaN.

    1 + floor(n_buckets * (rank - 1/2) / n), in whole numbers; rank averages ties, so that equal values share a bucket.
    What is exactly on a cut belongs to the inner bucket: the sign of x then only turns the numbers around.
    """
    space = sort_space(x.shape[1])
    key, tag = space.key, space.tag
    for t in range(x.shape[0]):
        n = sort_row(x[t], space)
        for j in range(x.shape[1]):
            out[t, j] = np.nan
        i = 0
        while i < n:
            end = i + 1
            while end < n and key[end] == key[i]:
                end += 1
            place, whole = n_buckets * (i + end), 2 * n
            bucket = 1 + place // whole
            if place % whole == 0 and 2 * place > n_buckets * whole:
                bucket -= 1
            for p in range(i, end):
                out[t, tag[p]] = bucket
            i = end


@njit(cache=True, nogil=True, error_model="numpy")
def top_kernel(x, n_held, largest, out):
    """1.0 where fewer than n_held of the row's values are larger (or smaller), else 0.0; NaN where x is NaN."""
    space = sort_space(x.shape[1])
    key = space.key
    for t in range(x.shape[0]):
        n = sort_row(x[t], space)
        place = max(n - n_held, 0) if largest else min(n_held, n) - 1
        edge = key[place] if n > 0 else np.nan
        for j in range(x.shape[1]):
            value = x[t, j]
            held = value >= edge if largest else value <= edge
            out[t, j] = (1.0 if held else 0.0) if value == value else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _between(near, far, part):
    """What lies `part` of the way from near to far; exactly `near` where both are equal."""
    if near == far or part == 0.0:
        return near
    gap = far - near
    return near + part * gap if gap - gap == 0.0 else near * (1.0 - part) + far * part


@njit(cache=True, nogil=True, error_model="numpy")
def winsorize_kernel(x, share, out):
    """Values beyond the row's quantiles `share` and 1 - `share` become those quantiles; NaN where x is NaN.

    Quantiles are interpolated between neighbours (numpy's default). Both are counted from their own end of the row, so
    that the sign of x makes no difference.
    """
    space = sort_space(x.shape[1])
    key = space.key
    for t in range(x.shape[0]):
        n = sort_row(x[t], space)
        low, high = np.nan, np.nan
        if n > 1:
            place = share * (n - 1)
            i = min(int(place), n - 2)
            low = _between(key[i], key[i + 1], place - i)
            high = _between(key[n - 1 - i], key[n - 2 - i], place - i)
        for j in range(x.shape[1]):
            value = x[t, j]
            if value < low:
                value = low
            elif value > high:
                value = high
            out[t, j] = value if value == value else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def scale_kernel(x, total, out):
    """Value over the sum of the row's absolute values, times `total`; NaN if that sum is 0 or there is none."""
    for t in range(x.shape[0]):
        size = 0.0
        for j in range(x.shape[1]):
            value = abs(x[t, j])
            size += value if value == value else 0.0
        for j in range(x.shape[1]):
            made = x[t, j] / size * total
            out[t, j] = made if made == made else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _mean(row):
    """Mean of the row's values as (one of them, what the mean is above it, how many); NaN above if there are none.

    Apart, because their sum has the digits of the level, where what is left of a value has those of the spread.
    """
    n, anchor, total = 0, 0.0, 0.0
    for j in range(row.shape[0]):
        value = row[j]
        if value == value:
            if n == 0 and value - value == 0.0:
                anchor = value  # sums of differences: equal values have exactly no spread
            total += value - anchor
            n += 1
    return anchor, (total / n if n > 0 else np.nan), n


@njit(cache=True, nogil=True, error_model="numpy")
def out_of_range(squares, high):
    """Whether a sum of squares of numbers up to `high` overflowed, or lost what they add up to, for want of a unit."""
    return 0.0 < high < np.inf and not 1e-280 < squares < 1e300


@njit(cache=True, nogil=True, error_model="numpy")
def unit_of(high):
    """The power of two that brings numbers of at most `high` near 1."""
    return math.ldexp(1.0, -max(min(math.frexp(high)[1], 1000), -1000))


@njit(cache=True, nogil=True, error_model="numpy")
def _squares(row, anchor, above, unit):
    """Sum of squared differences from the mean, each taken times `unit`."""
    squares = 0.0
    for j in range(row.shape[0]):
        gap = ((row[j] - anchor) - above) * unit
        squares += gap * gap if gap == gap else 0.0
    return squares


@njit(cache=True, nogil=True, error_model="numpy")
def _largest(row, anchor, above):
    """The largest difference from the mean."""
    high = 0.0
    for j in range(row.shape[0]):
        gap = abs((row[j] - anchor) - above)
        high = max(high, gap) if gap == gap else high
    return high


@njit(cache=True, nogil=True, error_model="numpy")
def center_kernel(x, scaled, out):
    """Value less the row's mean; if `scaled`, over the row's sample standard deviation (n - 1) too.

    NaN where x is NaN; scaled, a row of one value or of equal values is NaN throughout.
    """
    for t in range(x.shape[0]):
        anchor, above, n = _mean(x[t])
        unit, scale = 1.0, 1.0
        if scaled:
            squares = _squares(x[t], anchor, above, 1.0)
            if not 1e-280 < squares < 1e300:  # else the largest need not be known
                high = _largest(x[t], anchor, above)
                if out_of_range(squares, high):
                    unit = unit_of(high)
                    squares = _squares(x[t], anchor, above, unit)
            scale = np.sqrt(squares / (n - 1.0)) if squares > 0.0 else np.nan
        for j in range(x.shape[1]):
            made = ((x[t, j] - anchor) - above) * unit / scale
            out[t, j] = made if made == made else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def cross_mean_kernel(x, out):
    """Mean of the row's values, in every column; NaN if the row has none."""
    for t in range(x.shape[0]):
        anchor, above, _ = _mean(x[t])
        mean = anchor + above if above == above else np.nan
        for j in range(x.shape[1]):
            out[t, j] = mean


@njit(cache=True, nogil=True, error_model="numpy")
def cross_sum_kernel(x, out):
    """Sum of the row's values, in every column; NaN if the row has none."""
    for t in range(x.shape[0]):
        n, total = 0, 0.0
        for j in range(x.shape[1]):
            value = x[t, j]
            if value == value:
                total += value
                n += 1
        total = total if n > 0 and total == total else np.nan
        for j in range(x.shape[1]):
            out[t, j] = total


@njit(cache=True, nogil=True, error_model="numpy")
def cross_count_kernel(x, out):
    """How many values the row has, in every column."""
    for t in range(x.shape[0]):
        n = 0
        for j in range(x.shape[1]):
            n += 1 if x[t, j] == x[t, j] else 0
        for j in range(x.shape[1]):
            out[t, j] = n
