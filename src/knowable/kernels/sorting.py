"""Sorting a row of values with what each belongs to, and finding one value of an order without sorting.

Values are spread over buckets and finished by insertion: 10 microseconds for 500 of them, in any distribution; what
defeats that is merged. Rejected: merging alone (twice as long), numpy's argsort (3 s to compile), starting from the
order of the row before (no gain unless assets hardly move).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["SortSpace", "merge_sort", "select", "sort_row", "sort_space"]

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


class SortSpace(NamedTuple):
    """Working memory of `sort_row`, made once for many rows; `key` and `tag` hold its answer."""

    key: np.ndarray  # (n_assets,) values, ascending
    tag: np.ndarray  # (n_assets,) int64, the column of each
    spare: np.ndarray  # (n_assets,)
    spare_tag: np.ndarray  # (n_assets,) int64
    bucket: np.ndarray  # (n_assets,) int64
    counts: np.ndarray  # (2 * n_assets + 4 * 32,) int64
    pieces: np.ndarray  # (3, 32 + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def sort_space(n_assets):
    """Working memory for rows of `n_assets`."""
    return SortSpace(
        np.empty(n_assets),
        np.empty(n_assets, np.int64),
        np.empty(n_assets),
        np.empty(n_assets, np.int64),
        np.empty(n_assets, np.int64),
        np.empty(2 * n_assets + 4 * _SPLITS, np.int64),
        np.zeros((3, _SPLITS + 1)),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def sort_row(row, space):
    """Sort the row's values into ``space.key`` and their columns into ``space.tag``; how many are not NaN."""
    key, tag, spare, spare_tag, bucket, counts, pieces = space
    n = 0
    for j in range(row.shape[0]):
        value = row[j]
        spare[n], spare_tag[n] = value, j
        n += 1 if value == value else 0
    if n > _FEW:
        _scatter(spare, spare_tag, key, tag, pieces, bucket, counts, n)
    else:
        for p in range(n):
            key[p], tag[p] = spare[p], spare_tag[p]
    if not _insertion_sort(key, tag, n):
        merge_sort(key, tag, spare, spare_tag, n)
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def select(values, n, k):
    """The value at place k in the order of values[:n], which are moved about: those before place k are no greater then.

    No NaN. Source: Hoare (1961), Algorithm 65: FIND.
    """
    first, last = 0, n - 1
    while first < last:
        pivot = values[(first + last) // 2]
        i, j = first, last
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if k <= j:
            last = j
        elif k >= i:
            first = i
        else:
            break
    return values[k]
