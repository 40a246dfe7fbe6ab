"""Functions of one row across its assets: rank, mean-free, standardised, sum. NaN is skipped; rows never meet."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["center_kernel", "cross_sum_kernel", "rank_kernel"]

_RUN = 16  # insertion sort up to here; 8 and 32 were slower


@njit(cache=True, nogil=True, error_model="numpy")
def _sort_pairs(key, tag, key_spare, tag_spare, n):
    """Merge sort of key[:n] with its tags; returns the pair that holds the answer. Nearly sorted input is quick."""
    for low in range(0, n, _RUN):
        for i in range(low + 1, min(low + _RUN, n)):
            k, g, p = key[i], tag[i], i
            while p > low and key[p - 1] > k:
                key[p], tag[p] = key[p - 1], tag[p - 1]
                p -= 1
            key[p], tag[p] = k, g
    width = _RUN
    while width < n:
        for low in range(0, n, 2 * width):
            middle, high = min(low + width, n), min(low + 2 * width, n)
            i, j, p = low, middle, low
            if middle < high and key[middle - 1] > key[middle]:
                while i < middle and j < high:  # no branch on the data: the compiler selects
                    u, v = key[i], key[j]
                    left = 1 if u <= v else 0
                    key_spare[p] = u if left else v
                    tag_spare[p] = tag[i] if left else tag[j]
                    i, j, p = i + left, j + 1 - left, p + 1
            while i < middle:
                key_spare[p], tag_spare[p] = key[i], tag[i]
                i, p = i + 1, p + 1
            while j < high:
                key_spare[p], tag_spare[p] = key[j], tag[j]
                j, p = j + 1, p + 1
        key, key_spare = key_spare, key
        tag, tag_spare = tag_spare, tag
        width *= 2
    return key, tag


@njit(cache=True, nogil=True, error_model="numpy")
def rank_kernel(x, descending, out):
    """Rank within the row, 1 the smallest (or largest), ties their average; NaN where x is NaN.

    Each row starts from the order of the row before, which in a market is nearly its own; the answer does not
    depend on it.
    """
    n_assets = x.shape[1]
    order, absent = np.arange(n_assets), np.empty(n_assets, np.int64)
    key, key_spare = np.empty(n_assets), np.empty(n_assets)
    tag, tag_spare = np.empty(n_assets, np.int64), np.empty(n_assets, np.int64)
    for t in range(x.shape[0]):
        n, n_absent = 0, 0
        for i in range(n_assets):
            j = order[i]
            value = x[t, j]
            if value == value:
                key[n], tag[n] = value, j
                n += 1
            else:
                absent[n_absent] = j
                out[t, j] = np.nan
                n_absent += 1
        sorted_key, sorted_tag = _sort_pairs(key, tag, key_spare, tag_spare, n)
        i = 0
        while i < n:
            end = i + 1
            while end < n and sorted_key[end] == sorted_key[i]:
                end += 1
            rank = 0.5 * (i + 1 + end)
            if descending:
                rank = n + 1 - rank
            for p in range(i, end):
                order[p] = sorted_tag[p]
                out[t, sorted_tag[p]] = rank
            i = end
        for p in range(n_absent):
            order[n + p] = absent[p]


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
            out[t, j] = (x[t, j] - mean) / scale


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
        total = total if n > 0 else np.nan
        for j in range(x.shape[1]):
            out[t, j] = total
