"""Who is a member when: intervals as they were known at each moment, and names chosen by size at the end of a period.

Intervals sweep over two lists at once: facts by the moment they became known, and the edges (starts and ends) of every
interval ever asserted. Either can change whether a period's standing interval holds now, so both ask the same question
again; an edge of an interval that does not stand changes nothing.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.sorting import merge_sort

__all__ = ["ChosenState", "IntervalState", "Limits", "chosen_kernel", "intervals_kernel"]


class IntervalState(NamedTuple):
    """What the sweep over intervals carries from one clock row to the next."""

    top: np.ndarray  # (n_periods,) int32 latest standing assertion, -1 where none
    below: np.ndarray  # (n_facts,) int32 the assertion that each one hides, -1 where none
    holds: np.ndarray  # (n_periods,) bool the standing interval holds now
    held: np.ndarray  # (n_columns,) int32 intervals that hold now
    cursor: np.ndarray  # (2,) int64 first fact not yet known, first edge not yet reached


@njit(cache=True, nogil=True)
def _settle(p, now, start, end, column, state):
    a = state.top[p]
    holds = a >= 0 and start[a] <= now and now < end[a]
    if holds != state.holds[p]:
        state.holds[p] = holds
        state.held[column[p]] += 1 if holds else -1


@njit(cache=True, nogil=True)
def intervals_kernel(clock, known, period, retracts, start, end, column, edge_time, edge_fact, state, out):
    """Fill out[t, j] with whether, of what is known at clock[t], any interval of column j holds then: start <= t < end.

    clock (n_times,) int64 ascending; known, period, retracts, start, end (n_facts,) by known time, revision, asserts
    before retractions; column (n_periods,) the place in `out`, -1 to skip; edge_time, edge_fact (n_edges,) by time.
    """
    top, below = state.top, state.below
    i, e = state.cursor[0], state.cursor[1]
    for t in range(clock.shape[0]):
        now = clock[t]
        while i < known.shape[0] and known[i] <= now:
            p = period[i]
            if column[p] >= 0:
                if not retracts[i]:
                    below[i] = top[p]
                    top[p] = i
                elif top[p] >= 0:
                    top[p] = below[top[p]]
                _settle(p, now, start, end, column, state)
            i += 1
        while e < edge_time.shape[0] and edge_time[e] <= now:
            p = period[edge_fact[e]]
            if column[p] >= 0 and top[p] == edge_fact[e]:
                _settle(p, now, start, end, column, state)
            e += 1
        for j in range(state.held.shape[0]):
            out[t, j] = state.held[j] > 0
    state.cursor[0], state.cursor[1] = i, e


class Limits(NamedTuple):
    """What a name must meet to be chosen."""

    n: int  # most names to choose
    hold: int  # a member stays while its place is within n + hold
    level: float  # least mean to enter
    stay: float  # least mean to stay
    min_price: float  # least last close
    min_history: int  # least number of known bars
    stale: int  # bars without a value after which a name is gone


class ChosenState(NamedTuple):
    """What the choice carries from one bar to the next."""

    ring: np.ndarray  # (window, n_assets) float64 the last known values, the k-th known one in row k % window
    n_known: np.ndarray  # (n_assets,) int64 bars known so far
    silent: np.ndarray  # (n_assets,) int64 bars since the last known one
    price: np.ndarray  # (n_assets,) float64 last known close
    member: np.ndarray  # (n_assets,) bool


@njit(cache=True, nogil=True, error_model="numpy")
def _choose(order, limits, state, key, tag, spare, spare_tag):
    """Set the members anew: those who stay within the band, then the largest others, up to n."""
    window, n_assets = state.ring.shape
    m = 0
    for k in range(n_assets):
        j = order[k]
        n_known = state.n_known[j]
        if n_known < limits.min_history or state.silent[j] > limits.stale or state.price[j] < limits.min_price:
            continue
        size, total = min(n_known, window), 0.0
        for q in range(n_known - size, n_known):  # oldest first, so that the bits do not hang on where it began
            total += state.ring[q % window, j]
        mean = total / size
        if mean >= (limits.stay if state.member[j] else limits.level):
            key[m], tag[m] = -mean, j
            m += 1
    merge_sort(key, tag, spare, spare_tag, m)  # stable: ties stay in the order of `order`
    left = limits.n
    for r in range(m):  # a tag of a chosen name is marked by its complement
        if r < limits.n + limits.hold and state.member[tag[r]] and left > 0:
            tag[r] = -1 - tag[r]
            left -= 1
    for r in range(m):
        if tag[r] >= 0 and left > 0:
            tag[r] = -1 - tag[r]
            left -= 1
    for j in range(n_assets):
        state.member[j] = False
    for r in range(m):
        if tag[r] < 0:
            state.member[-1 - tag[r]] = True


@njit(cache=True, nogil=True, error_model="numpy")
def chosen_kernel(close, value, choose, order, limits, state, out):
    """Fill out[t, j] with whether asset j is a member on bar t: chosen on the last row of `choose`, and not gone since.

    close, value (n_bars, n_assets); a bar is known where both are. choose (n_bars,) bool; order (n_assets,) columns in
    the order that settles ties. A row's own bar counts for its choice.
    """
    n_bars, n_assets = close.shape
    window = state.ring.shape[0]
    key, spare = np.empty(n_assets), np.empty(n_assets)
    tag, spare_tag = np.empty(n_assets, np.int64), np.empty(n_assets, np.int64)
    for t in range(n_bars):
        for j in range(n_assets):
            price, size = close[t, j], value[t, j]
            if price == price and size == size:
                state.ring[state.n_known[j] % window, j] = size
                state.n_known[j] += 1
                state.silent[j] = 0
                state.price[j] = price
            else:
                state.silent[j] += 1
                if state.silent[j] > limits.stale:
                    state.member[j] = False
        if choose[t]:
            _choose(order, limits, state, key, tag, spare, spare_tag)
        for j in range(n_assets):
            out[t, j] = state.member[j]
