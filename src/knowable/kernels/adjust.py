"""Forward adjustment: what one share of an asset's first bar has become, by the actions in force at each row.

An action *version* is one statement of an action and the span of time in which it stood. Versions of an asset follow
one another by (ex, distributions before splits, known): a distribution is per share of before a split of its day.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["AdjustState", "adjust_kernel"]

_NEVER = np.iinfo(np.int64).max


class AdjustState(NamedTuple):
    """What the scan carries from one bar to the next."""

    gain: np.ndarray  # (n_versions,) float64 shares bought with what one share received; NaN until there is a price
    booked: np.ndarray  # (n_versions,) int64 end of the bar at whose close they were bought
    owed: np.ndarray  # (n_versions,) float64 scratch: shares entitled whose purchase is not counted yet
    begun: np.ndarray  # (n_assets,) int64 end of the first bar with a price; the greatest int64 until then
    split: np.ndarray  # (n_assets,) float64 factor of the splits in force
    total: np.ndarray  # (n_assets,) float64 factor of splits and distributions in force
    next_ex: np.ndarray  # (n_assets,) int64 the factors can change once a bar ends after this
    next_known: np.ndarray  # (n_assets,) int64 ... or once a decision is made at this or later
    waiting: np.ndarray  # (n_assets,) bool a distribution waits for a price


@njit(cache=True, nogil=True)
def _book(now, j, row, first, ex, cash, units, other, state):
    """Spend what waits for a price at the closes of this bar; True if something still waits."""
    waiting = False
    for a in range(first[j], first[j + 1]):
        if ex[a] >= now:
            break
        if ex[a] < state.begun[j] or not np.isnan(state.gain[a]) or (cash[a] == 0.0 and other[a] < 0):
            continue
        worth = cash[a]
        if other[a] >= 0:
            worth += units[a] * row[other[a]]
        state.gain[a] = worth / row[j]
        state.booked[a] = now
        if np.isnan(state.gain[a]):
            waiting = True
    return waiting


@njit(cache=True, nogil=True)
def _hold(now, decided, j, first, ex, known, until, ratio, state):
    """Follow a holder of one share through the versions in force, in the order of their ex-dates."""
    begin = first[j]
    split, shares, oldest, end = 1.0, 1.0, begin, begin
    next_ex, next_known = _NEVER, _NEVER
    for a in range(begin, first[j + 1]):
        if ex[a] >= now:
            next_ex = ex[a]
            break
        end = a + 1
        state.owed[a] = 0.0
        if ex[a] < state.begun[j] or until[a] <= decided:
            continue
        if known[a] > decided:
            next_known = min(next_known, known[a])
            continue
        next_known = min(next_known, until[a])
        for b in range(oldest, a):
            if state.owed[b] > 0.0 and state.booked[b] <= ex[a]:
                shares += state.owed[b] * state.gain[b]
                state.owed[b] = 0.0
        while oldest < a and state.owed[oldest] == 0.0:
            oldest += 1
        if ratio[a] != 1.0:
            shares *= ratio[a]
            split *= ratio[a]
        elif not np.isnan(state.gain[a]):
            state.owed[a] = shares
    for b in range(oldest, end):
        if state.owed[b] > 0.0:
            shares += state.owed[b] * state.gain[b]
    state.split[j], state.total[j] = split, shares
    state.next_ex[j], state.next_known[j] = next_ex, next_known


@njit(cache=True, nogil=True)
def adjust_kernel(
    times, decision, close, first, ex, known, until, ratio, cash, units, other, state, split_out, total_out
):
    """Fill split_out and total_out, both (n_bars, n_assets), with the factors in force at each decision.

    times, decision (n_bars,) int64 ns; close (n_bars, n_assets); first (n_assets + 1,) where the versions of each
    asset begin; per version, (n_versions,): ex, known, until int64 ns (in force while known <= decision < until),
    ratio new shares per old (1: no split), cash per old share, units of the asset in column `other` per old share
    (-1: of none). An action takes effect at the first bar that ends after `ex`.
    """
    for t in range(times.shape[0]):
        now, decided = times[t], decision[t]
        for j in range(close.shape[1]):
            if first[j] < first[j + 1]:
                if state.begun[j] == _NEVER and not np.isnan(close[t, j]):
                    state.begun[j] = now
                due = now > state.next_ex[j] or decided >= state.next_known[j]
                if due or state.waiting[j]:
                    state.waiting[j] = _book(now, j, close[t], first, ex, cash, units, other, state)
                    _hold(now, decided, j, first, ex, known, until, ratio, state)
            split_out[t, j] = state.split[j]
            total_out[t, j] = state.total[j]
