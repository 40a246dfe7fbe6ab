"""Order within a moving window: the rank of the newest value, quantiles, and where the extreme stands.

Every kernel is a resumable scan, as those of `rolling`. What it gives depends on the values in the window alone, and
exactly so: any chunking gives the same bits. Infinities are ordered as IEEE orders them. A NaN in the window gives NaN;
`run` counts an asset's bars since its last one, and nothing else need be remembered of a gap.

Windows are kept as a ring an asset, one after the other in memory, so that one value is held against a whole window in
a few vector instructions. A ring is filled up to a multiple of 16 with what counts for nothing, because the compiler
would do the rest one by one; columns are taken in blocks whose rings stay in the processor's cache. To read a ring
right after writing to it is to wait for the write, so the entering value is settled apart and written last.

Milliseconds on 5,000 x 500, one thread of a busy machine, for windows of 10, 60 and 250 bars:

- Rank by counting: 14, 30, 89. Rejected: a sorted window with binary search and shift (252, 445, 783: at each step a
  branch that cannot be foreseen; 1,280 beside 370 at 1,000 bars); counting across assets, a ring row a bar (14, 32,
  117, and ten times slower where there is one asset); the write before the count (46, 50, 88).
- Quantile by its two neighbours: 62, 77, 165. Rejected: a sorted window, as above; deciding case by case what a step
  does to the neighbours, in place of one comparison for each direction (94, 103, 177).
- Rows of a matrix as arrays of their own, `row = ring[j]`: numba counts their references, which took half the time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.sorting import select

__all__ = [
    "ArgState",
    "QuantileState",
    "RankState",
    "arg_kernel",
    "arg_state",
    "quantile_kernel",
    "quantile_state",
    "rank_kernel",
    "rank_state",
]

_VECTOR = 16  # values the compiled loop takes at a time
_CACHED = 65_536  # values of rings worked on at a time: half a megabyte
_TOP = np.int64(0x7FFF_FFFF_FFFF_FFFF)


class RankState(NamedTuple):
    """State of `rank_kernel`."""

    ring: np.ndarray  # (n_assets, width >= window) the last `window` values; the rest stays NaN
    run: np.ndarray  # (n_assets,) int64 bars since the last NaN
    place: np.ndarray  # (1,) int64 slot of the oldest


class QuantileState(NamedTuple):
    """State of `quantile_kernel`; values as int64 keys of the same order."""

    ring: np.ndarray  # (n_assets, width >= window) int64 keys; the rest stays the highest key
    low: np.ndarray  # (n_assets,) int64 key of the ordered value at or below the quantile
    high: np.ndarray  # (n_assets,) int64 key of the next one; the highest key where there is none
    run: np.ndarray  # (n_assets,) int64 bars since the last NaN
    place: np.ndarray  # (1,) int64 slot of the oldest


class ArgState(NamedTuple):
    """State of `arg_kernel`: two stacks, as in `rolling`, in values that are smallest first."""

    suffix: np.ndarray  # (window, n_assets) suffix minima; raw values up to the slot
    where: np.ndarray  # (window, n_assets) slots of the suffix minima
    head: np.ndarray  # (2, n_assets) this block's minimum and its slot
    place: np.ndarray  # (2,) int64 slot of the next row in its block, 1 once the first block is complete


def rank_state(window: int, n_assets: int) -> RankState:
    """State before the first row."""
    ring = np.full((n_assets, _width(window)), np.nan)
    return RankState(ring, np.zeros(n_assets, np.int64), np.zeros(1, np.int64))


def quantile_state(window: int, n_assets: int) -> QuantileState:
    """State before the first row."""
    ring = np.full((n_assets, _width(window)), _TOP)
    low, high, run = np.zeros((3, n_assets), np.int64)
    return QuantileState(ring, low, high, run, np.zeros(1, np.int64))


def arg_state(window: int, n_assets: int) -> ArgState:
    """State before the first row."""
    return ArgState(
        np.zeros((window, n_assets)), np.zeros((window, n_assets)), np.zeros((2, n_assets)), np.zeros(2, np.int64)
    )


def _width(window: int) -> int:
    return -(-window // _VECTOR) * _VECTOR


@njit(cache=True, nogil=True, error_model="numpy")
def rank_kernel(x, window, state, out):
    """Rank of the newest value among the last `window`, 1 the smallest; equal values share the average of their ranks.

    NaN until the window is full, and for a NaN within.
    """
    ring, run = state.ring, state.run
    width, n_assets = ring.shape[1], x.shape[1]
    block = max(_CACHED // width, 1)
    slot = state.place[0]
    for first in range(0, n_assets, block):
        slot = state.place[0]
        for t in range(x.shape[0]):
            for j in range(first, min(first + block, n_assets)):
                value, leaving = x[t, j], ring[j, slot]
                run[j] = run[j] + 1 if value == value else 0
                if run[j] >= window:
                    # twice the rank: those below, those not above, itself in place of the one that leaves, and one
                    twice = 2 - (1 if leaving < value else 0) - (1 if leaving <= value else 0)
                    for i in range(width):
                        twice += (1 if ring[j, i] < value else 0) + (1 if ring[j, i] <= value else 0)
                    out[t, j] = 0.5 * twice
                else:
                    out[t, j] = np.nan
                ring[j, slot] = value
            slot = slot + 1 if slot + 1 < window else 0
    state.place[0] = slot


@njit(cache=True, nogil=True, error_model="numpy")
def quantile_kernel(x, window, q, state, out):
    """The value below which a share `q` of the last `window` lies, between its two neighbours by straight line.

    In order v[0] <= v[1] <= ..., it is read at q * (window - 1); as pandas and numpy do by default (type 7 of Hyndman
    and Fan, 1996, Am. Stat. 50). NaN until the window is full, for a NaN within, and between -inf and inf.

    The two neighbours are carried along: v[below] and v[below + 1] as `low` and `high`. What leaves and enters on the
    same side of them changes nothing; else one step to the next value up or down, which one pass over the ring finds.
    """
    ring, lows, highs, run = state.ring, state.low, state.high, state.run
    width, n_assets = ring.shape[1], x.shape[1]
    at = q * (window - 1)
    below = int(at)
    part = at - below
    bits, scratch = x.view(np.int64), np.empty(window, np.int64)
    pair = np.empty(2)
    pair_bits = pair.view(np.int64)
    block = max(_CACHED // width, 1)
    slot = state.place[0]
    for first in range(0, n_assets, block):
        slot = state.place[0]
        for t in range(x.shape[0]):
            for j in range(first, min(first + block, n_assets)):
                key, leaving = _turned(bits[t, j]), ring[j, slot]
                run[j] = run[j] + 1 if x[t, j] == x[t, j] else 0
                if run[j] > window:
                    low, high = _moved(ring, j, below, lows[j], highs[j], leaving, key)
                ring[j, slot] = key
                if run[j] < window:
                    out[t, j] = np.nan
                else:
                    if run[j] == window:
                        for i in range(window):
                            scratch[i] = ring[j, i]
                        low, high = _selected(scratch, below)
                    lows[j], highs[j] = low, high
                    pair_bits[0], pair_bits[1] = _turned(low), _turned(high)
                    exact = part == 0.0 or low == high
                    value = pair[0] if exact else (1.0 - part) * pair[0] + part * pair[1]
                    out[t, j] = value if value == value else np.nan  # there is one NaN
            slot = slot + 1 if slot + 1 < window else 0
    state.place[0] = slot


@njit(cache=True, nogil=True, error_model="numpy")
def arg_kernel(x, sign, state, out):
    """Where the smallest (sign 1.0) or largest (sign -1.0) value of the window stands: 0 is the oldest, the first wins.

    NaN until the window is full, and for a NaN within.
    """
    suffix, where, head, place = state.suffix, state.where, state.head, state.place
    window, n_assets = suffix.shape
    slot, complete = place[0], place[1]
    for t in range(x.shape[0]):
        if slot == 0:
            for j in range(n_assets):
                head[0, j] = np.inf
                head[1, j] = 0.0
        for j in range(n_assets):
            value, best = sign * x[t, j], head[0, j]
            taken = value < best or value != value  # a NaN on either side wins
            head[0, j] = value if taken else best
            head[1, j] = slot if taken else head[1, j]
            suffix[slot, j] = value
        if slot + 1 == window:
            for j in range(n_assets):
                out[t, j] = head[1, j] if head[0, j] == head[0, j] else np.nan
        elif complete == 0:
            for j in range(n_assets):
                out[t, j] = np.nan
        else:
            older_first, newer_first = -(slot + 1.0), window - 1.0 - slot
            for j in range(n_assets):
                best, older = head[0, j], suffix[slot + 1, j]
                found = where[slot + 1, j] + older_first if older <= best else head[1, j] + newer_first
                out[t, j] = found if best == best and older == older else np.nan
        slot += 1
        if slot == window:
            slot, complete = 0, 1
            for j in range(n_assets):
                where[window - 1, j] = window - 1.0
            for i in range(window - 2, -1, -1):
                for j in range(n_assets):
                    value, best = suffix[i, j], suffix[i + 1, j]
                    kept = value <= best or value != value
                    suffix[i, j] = value if kept else best
                    where[i, j] = i if kept else where[i + 1, j]
    place[0], place[1] = slot, complete


@njit(cache=True, nogil=True, error_model="numpy")
def _turned(bits):
    """Bits of a double to an integer of the same order, and back."""
    return bits if bits >= 0 else bits ^ _TOP


@njit(cache=True, nogil=True, error_model="numpy")
def _moved(ring, j, below, low, high, leaving, entering):
    """The values at places `below` and below + 1 once `leaving`, which is in the row, has made way for `entering`."""
    lower = leaving <= low  # no value lies between the two, so one that is not lower is at least high
    if entering > high and leaving <= high:
        return high if lower else low, _next_up(ring, j, high, below + 2, entering)
    if entering < low and leaving >= low:
        return _next_down(ring, j, low, below, entering), high if lower else low
    return max(low, entering) if lower else low, high if lower else min(high, entering)


@njit(cache=True, nogil=True, error_model="numpy")
def _next_up(ring, j, key, place, entering):
    """The value after `key` in order: `key` again if more than `place` are no higher (what leaves still counts)."""
    n_upto, following = 0, entering
    for i in range(ring.shape[1]):
        n_upto += ring[j, i] <= key
        following = min(following, ring[j, i] if ring[j, i] > key else _TOP)
    return key if n_upto > place else following


@njit(cache=True, nogil=True, error_model="numpy")
def _next_down(ring, j, key, place, entering):
    """The value before `key` in order: `key` again if fewer than `place` are lower (what enters does not count yet)."""
    n_lower, former = 0, entering
    for i in range(ring.shape[1]):
        n_lower += ring[j, i] < key
        former = max(former, ring[j, i] if ring[j, i] < key else -_TOP)
    return key if n_lower < place else former


@njit(cache=True, nogil=True, error_model="numpy")
def _selected(values, below):
    """The values at places `below` and below + 1 in order."""
    low = select(values, values.size, below)
    high = _TOP
    for i in range(below + 1, values.size):
        high = min(high, values[i])
    return low, high
