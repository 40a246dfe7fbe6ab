"""Functions of a row within groups of its assets. Equal codes are one group; NaN is none; rows never meet.

Codes are any numbers. Each row's are looked up in a hash table, unless they are those of the row before: sectors change
seldom, so that a row mostly costs one comparison an asset. An asset without a value is skipped, as across all assets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.cross_section import out_of_range, unit_of
from knowable.kernels.sorting import sort_row, sort_space

__all__ = ["group_center_kernel", "group_rank_kernel", "group_total_kernel"]


class _Groups(NamedTuple):
    """The groups of the last row seen, and the table that found them."""

    member: np.ndarray  # (n_assets,) int64: number of the asset's group from 0; -1 for none
    code: np.ndarray  # (n_slots,) the code a slot stands for
    number: np.ndarray  # (n_slots,) int64: number of its group
    row: np.ndarray  # (n_slots,) int64: the row that filled the slot; of an earlier one it is free
    shift: int  # 64 less the bits of a slot's number


@njit(cache=True, nogil=True, error_model="numpy")
def _no_groups(n_assets):
    bits = 1
    while 1 << bits < 2 * n_assets:
        bits += 1
    n_slots = 1 << bits
    return _Groups(
        np.full(n_assets, -1),
        np.empty(n_slots),
        np.empty(n_slots, np.int64),
        np.full(n_slots, -1),
        64 - bits,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _assign(codes, bits, t, found, n_groups):
    """Number the groups of row t in the order they come; how many there are. `n_groups` is the answer of row t - 1."""
    member, code, number, filled, shift = found
    n_assets = codes.shape[1]
    if t > 0:
        same = True
        for j in range(n_assets):
            same &= bits[t, j] == bits[t - 1, j]
        if same:
            return n_groups
    n_groups = 0
    for j in range(n_assets):
        value = codes[t, j] + 0.0  # -0.0 becomes 0.0
        if value != value:
            member[j] = -1
            continue
        mixed = np.uint64(0 if value == 0.0 else bits[t, j]) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
        slot = np.int64(mixed >> np.uint64(shift))
        while filled[slot] == t and code[slot] != value:
            slot = np.int64(slot + 1 if slot + 1 < code.shape[0] else 0)
        if filled[slot] != t:
            filled[slot], code[slot], number[slot] = t, value, n_groups
            n_groups += 1
        member[j] = number[slot]
    return n_groups


@njit(cache=True, nogil=True, error_model="numpy")
def _sums(row, member, n_groups, n, anchor, total):
    """Of each group: how many values, the first of them if finite, and the sum of their differences from that."""
    for g in range(n_groups):
        n[g], anchor[g], total[g] = 0, 0.0, 0.0
    for j in range(row.shape[0]):
        g, value = member[j], row[j]
        if g >= 0 and value == value:
            if n[g] == 0 and value - value == 0.0:
                anchor[g] = value  # sums of differences: equal values have exactly no spread
            total[g] += value - anchor[g]
            n[g] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def group_total_kernel(x, groups, kind, out):
    """Of each asset's group the sum (kind 0), mean (1) or number (2) of values, also where x itself is NaN.

    Without a value in the group, sum and mean are NaN and the number is 0; NaN where the asset has no group.
    """
    n_assets = x.shape[1]
    bits = groups.view(np.int64)
    found, n_groups = _no_groups(n_assets), 0
    n, anchor, total = np.empty(n_assets, np.int64), np.empty(n_assets), np.empty(n_assets)
    for t in range(x.shape[0]):
        n_groups = _assign(groups, bits, t, found, n_groups)
        if kind == 0:
            for g in range(n_groups):
                n[g], total[g] = 0, 0.0
            for j in range(n_assets):
                g, value = found.member[j], x[t, j]
                if g >= 0 and value == value:
                    total[g] += value
                    n[g] += 1
        else:
            _sums(x[t], found.member, n_groups, n, anchor, total)
        for g in range(n_groups):
            if kind == 2:
                total[g] = n[g]
            elif n[g] == 0:
                total[g] = np.nan
            elif kind == 1:
                total[g] = anchor[g] + total[g] / n[g]
            if total[g] != total[g]:
                total[g] = np.nan
        for j in range(n_assets):
            g = found.member[j]
            out[t, j] = total[g] if g >= 0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def group_center_kernel(x, groups, scaled, out):
    """Value less its group's mean; if `scaled`, over the group's sample standard deviation (n - 1) too.

    NaN where the value or its group is NaN; scaled, a group of one value or of equal values is NaN.
    """
    n_assets = x.shape[1]
    bits = groups.view(np.int64)
    found, n_groups = _no_groups(n_assets), 0
    n, anchor = np.empty(n_assets, np.int64), np.empty(n_assets)
    above, squares, unit = np.empty(n_assets), np.empty(n_assets), np.empty(n_assets)
    for t in range(x.shape[0]):
        n_groups = _assign(groups, bits, t, found, n_groups)
        _sums(x[t], found.member, n_groups, n, anchor, above)
        for g in range(n_groups):
            above[g] /= n[g]  # not added to the anchor: that would round it to the digits of the level
            squares[g] = 0.0 if scaled else 1.0
            unit[g] = 1.0
        if scaled:
            _deviations(x[t], found.member, n_groups, n, anchor, above, squares, unit)
        for j in range(n_assets):
            g, gap = found.member[j], np.nan
            if g >= 0:
                gap = ((x[t, j] - anchor[g]) - above[g]) * unit[g] / squares[g]
            out[t, j] = gap if gap == gap else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _deviations(row, member, n_groups, n, anchor, above, squares, unit):
    """Sample deviation of each group into `squares`, in a unit in which its squares neither overflow nor vanish."""
    high = np.zeros(n_groups)
    for j in range(row.shape[0]):
        g = member[j]
        gap = (row[j] - anchor[g]) - above[g] if g >= 0 else np.nan
        if gap == gap:
            squares[g] += gap * gap
            high[g] = max(high[g], abs(gap))
    again = False
    for g in range(n_groups):
        if out_of_range(squares[g], high[g]):
            unit[g], squares[g], again = unit_of(high[g]), 0.0, True
    if again:
        for j in range(row.shape[0]):
            g = member[j]
            gap = ((row[j] - anchor[g]) - above[g]) * unit[g] if g >= 0 else np.nan
            if gap == gap and unit[g] != 1.0:
                squares[g] += gap * gap
    for g in range(n_groups):
        squares[g] = np.sqrt(squares[g] / (n[g] - 1.0)) if squares[g] > 0.0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def group_rank_kernel(x, groups, descending, out):
    """Rank within the asset's group, 1 the smallest (or largest), ties their average; NaN where either is NaN."""
    n_assets = x.shape[1]
    bits = groups.view(np.int64)
    found, n_groups = _no_groups(n_assets), 0
    space = sort_space(n_assets)
    key, tag, member = space.key, space.tag, found.member
    before, tied = np.zeros(n_assets, np.int64), np.zeros(n_assets, np.int64)
    for t in range(x.shape[0]):
        n_groups = _assign(groups, bits, t, found, n_groups)
        n = sort_row(x[t], space)
        for j in range(n_assets):
            out[t, j] = np.nan
        for g in range(n_groups):
            before[g] = 0
        i = 0
        while i < n:  # a run of equal values: those of a group share the average of their places in it
            end = i + 1
            while end < n and key[end] == key[i]:
                end += 1
            for p in range(i, end):
                if member[tag[p]] >= 0:
                    tied[member[tag[p]]] += 1
            for p in range(i, end):
                g = member[tag[p]]
                if g >= 0:
                    out[t, tag[p]] = before[g] + 0.5 * (tied[g] + 1)
            for p in range(i, end):
                g = member[tag[p]]
                if g >= 0:
                    before[g] += tied[g]  # once: the next of the run finds none tied
                    tied[g] = 0
            i = end
        if descending:
            for j in range(n_assets):
                if out[t, j] == out[t, j]:
                    out[t, j] = before[member[j]] + 1 - out[t, j]
