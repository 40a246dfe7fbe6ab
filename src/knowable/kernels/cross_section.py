"""Functions of one row across its assets: rank, mean-free, standardised, sum. NaN is skipped; rows never meet."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["center_kernel", "cross_sum_kernel", "merge_sort", "rank_kernel"]

_MOVES = 8  # a value that insertion sort may move before merging takes over
_SPLITS = 32  # values of the row that split it; a power of two
_FEW = 64  # up to here insertion alone is quickest


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter(key, tag, key_out, tag_out, pieces, bucket, count, n):
    """Spread the values over about n buckets in their order, so that insertion sort has little left to do.

    A sample of the row, sorted, cuts its range; each piece is cut evenly. So outliers and skew do no harm.
    """
    split, base, slope = pieces[0], pieces[1], pieces[2]
    for i in range(_SPLITS):
        value, p = key[i * n // _SPLITS], i
        while p > 0 and split[p - 1] > value:
            split[p] = split[p - 1]
            p -= 1
        split[p] = value
    per_piece = n // _SPLITS + 1
    for k in range(1, _SPLITS):
        base[k] = split[k - 1]
        slope[k] = per_piece / (split[k] - split[k - 1]) if split[k] > split[k - 1] else 0.0
    n_buckets = per_piece * (_SPLITS + 1)
    for p in range(n_buckets + 1):
        count[p] = 0
    for i in range(n):
        value, k, step = key[i], 0, _SPLITS // 2
        while step > 0:
            k += step if split[k + step - 1] <= value else 0
            step //= 2
        k += 1 if split[k] <= value else 0
        part = (value - base[k]) * slope[k]
        part = part if part > 0.0 else 0.0  # noqa: FURB136 - infinity times zero is NaN, which max would keep
        bucket[i] = k * per_piece + min(int(min(part, 1e9)), per_piece - 1)
        count[bucket[i] + 1] += 1
    for p in range(n_buckets):
        count[p + 1] += count[p]
    for i in range(n):
        p = count[bucket[i]]
        key_out[p], tag_out[p] = key[i], tag[i]
        count[bucket[i]] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _insertion_sort(key, tag, n):
    """Sort in place; False if that takes too many moves, and then nothing is lost."""
    left = _MOVES * (n + 2 * _FEW)
    for i in range(1, n):
        k, g, p = key[i], tag[i], i
        while p > 0 and key[p - 1] > k:
            key[p], tag[p] = key[p - 1], tag[p - 1]
            p -= 1
        key[p], tag[p] = k, g
        left -= i - p
        if left < 0:
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def merge_sort(key, tag, spare, spare_tag, n):
    """Sort any input in place, in n log n steps."""
    width = 1
    while width < n:
        for low in range(0, n, 2 * width):
            i, middle, high = low, min(low + width, n), min(low + 2 * width, n)
            j = middle
            for p in range(low, high):
                left = j == high or (i < middle and key[i] <= key[j])
                at = i if left else j
                spare[p], spare_tag[p] = key[at], tag[at]
                i, j = i + left, j + 1 - left
        for p in range(n):
            key[p], tag[p] = spare[p], spare_tag[p]
        width *= 2


@njit(cache=True, nogil=True, error_model="numpy")
def rank_kernel(x, descending, out):
    """Rank within the row, 1 the smallest (or largest), ties their average; NaN where x is NaN.

    Values are spread over buckets and finished by insertion: 10 microseconds for 500 of them, in any distribution; what
    defeats that is merged. Rejected: merging alone (twice as long), numpy's argsort (3 s to compile), starting from the
    order of the row before (no gain unless assets hardly move).
    """
    n_assets = x.shape[1]
    count, bucket = np.empty(2 * n_assets + 4 * _SPLITS, np.int64), np.empty(n_assets, np.int64)
    key, spare = np.empty(n_assets), np.empty(n_assets)
    tag, spare_tag = np.empty(n_assets, np.int64), np.empty(n_assets, np.int64)
    pieces = np.zeros((3, _SPLITS + 1))
    for t in range(x.shape[0]):
        n = 0
        for j in range(n_assets):
            value = x[t, j]
            out[t, j] = np.nan
            spare[n], spare_tag[n] = value, j
            n += 1 if value == value else 0
        if n > _FEW:
            _scatter(spare, spare_tag, key, tag, pieces, bucket, count, n)
        else:
            for p in range(n):
                key[p], tag[p] = spare[p], spare_tag[p]
        if not _insertion_sort(key, tag, n):
            merge_sort(key, tag, spare, spare_tag, n)
        i = 0
        while i < n:
            end = i + 1
            while end < n and key[end] == key[i]:
                end += 1
            rank = 0.5 * (i + 1 + end)
            rank = n + 1 - rank if descending else rank
            for p in range(i, end):
                out[t, tag[p]] = rank
            i = end


@njit(cache=True, nogil=True, error_model="numpy")
def center_kernel(x, scaled, out):
    """Value less the row's mean; if `scaled`, over the row's sample standard deviation (n - 1) too.

    NaN where x is NaN; scaled, a row of one value or of equal values is NaN throughout.
    """
    for t in range(x.shape[0]):
        n, anchor, total = 0, 0.0, 0.0
        for j in range(x.shape[1]):
            value = x[t, j]
            if value == value:
                if n == 0 and value - value == 0.0:
                    anchor = value  # sums of differences: equal values have exactly no spread
                total += value - anchor
                n += 1
        mean = anchor + total / n if n > 0 else np.nan
        squares = 0.0
        if scaled:
            for j in range(x.shape[1]):
                gap = x[t, j] - mean
                squares += gap * gap if gap == gap else 0.0
        scale = 1.0
        if scaled:
            scale = np.sqrt(squares / (n - 1.0)) if squares > 0.0 or squares != squares else np.nan
        for j in range(x.shape[1]):
            made = (x[t, j] - mean) / scale
            out[t, j] = made if made == made else np.nan


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
