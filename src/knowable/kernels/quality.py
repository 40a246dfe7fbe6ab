"""What a row looked like on arrival: scans over statements sorted by (series, known_time, event_time, revision).

A *series* is one entity (and its further keys), a *period* one event time of it; periods are numbered so that those of
a series follow one another by event time. A statement is seen against what stood in its series at its own moment, so
a row known later changes no earlier finding. The scans keep each period's standing statements as a linked list: `top`
is the latest, `below[i]` the one that statement i hides; a retraction pops it.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.sorting import select

__all__ = [
    "ArrivalState",
    "HoleState",
    "arrival_state",
    "hole_state",
    "holes_kernel",
    "moves_kernel",
    "runs_kernel",
    "stood_kernel",
]

_MAD_TO_SIGMA = 1.482602218505602  # 1 / Phi^-1(3/4): the MAD of a normal law over its standard deviation


class ArrivalState(NamedTuple):
    """What stands in each period so far."""

    top: np.ndarray  # (n_periods,) int32 latest standing statement, -1 where none
    below: np.ndarray  # (n_rows,) int32 the statement that each one hides, -1 where none
    reach: np.ndarray  # (n_series, 2) int64 lowest and highest period stated: looking beyond would cost a scan a row
    cursor: np.ndarray  # (1,) int64 first statement not yet seen


class HoleState(NamedTuple):
    """How far each series reaches so far."""

    oldest: np.ndarray  # (n_series,) int64 lowest slot stated, -1 before the first
    newest: np.ndarray  # (n_series,) int64 highest slot stated, -1 before the first
    cursor: np.ndarray  # (1,) int64 first statement not yet seen


def arrival_state(n_series: int, n_periods: int, n_rows: int) -> ArrivalState:
    """State before the first statement."""
    reach = np.empty((n_series, 2), np.int64)
    reach[:, 0], reach[:, 1] = n_periods, -1
    top, below = np.full(n_periods, -1, np.int32), np.full(n_rows, -1, np.int32)
    return ArrivalState(top, below, reach, np.zeros(1, np.int64))


def hole_state(n_series: int) -> HoleState:
    """State before the first statement."""
    return HoleState(np.full(n_series, -1, np.int64), np.full(n_series, -1, np.int64), np.zeros(1, np.int64))


@njit(cache=True, nogil=True)
def _arrive(i, p, s, retracts, state):
    """Let statement i of period p and series s stand, or withdraw what stands there."""
    top, below, reach = state.top, state.below, state.reach
    if not retracts:
        below[i] = top[p]
        top[p] = i
        reach[s, 0], reach[s, 1] = min(reach[s, 0], p), max(reach[s, 1], p)
    elif top[p] >= 0:
        top[p] = below[top[p]]


@njit(cache=True, nogil=True)
def stood_kernel(stop, period, owner, retracts, state, before_out, previous_out):
    """Fill, for each statement up to `stop`, the one it replaces and the one that stood in the period before; -1: none.

    period, retracts (n_rows,); owner (n_periods,) the series of a period.
    """
    top = state.top
    for i in range(state.cursor[0], stop):
        p = period[i]
        s = owner[p]
        before_out[i] = top[p]
        _arrive(i, p, s, retracts[i], state)
        lowest = state.reach[s, 0]
        q = p - 1
        while q >= lowest and top[q] < 0:
            q -= 1
        previous_out[i] = top[q] if q >= lowest else -1
    state.cursor[0] = stop


@njit(cache=True, nogil=True)
def runs_kernel(stop, longest, period, owner, retracts, value, state, length_out):
    """Fill how many of the newest standing periods up to a statement's own say the same; counted up to `longest`.

    A retraction and a NaN count 0. value (n_rows,) float64.
    """
    top = state.top
    for i in range(state.cursor[0], stop):
        p = period[i]
        s = owner[p]
        _arrive(i, p, s, retracts[i], state)
        length = 0
        if not retracts[i]:
            q, lowest = p, state.reach[s, 0]
            while q >= lowest and length < longest:
                if top[q] >= 0:
                    if value[top[q]] != value[i]:
                        break
                    length += 1
                q -= 1
        length_out[i] = length
    state.cursor[0] = stop


@njit(cache=True, nogil=True)
def holes_kernel(stop, series, slot, retracts, state, from_out, until_out):
    """Fill the slots [from, until) that a statement shows to be empty: those between it and what its series reached.

    slot (n_rows,) int64 >= 0, the place of its event time on the expected clock. Only a statement that moves the first
    or last slot of its series shows any; the others get from = until = -1.
    """
    oldest, newest = state.oldest, state.newest
    for i in range(state.cursor[0], stop):
        s, at = series[i], slot[i]
        from_out[i], until_out[i] = -1, -1
        if retracts[i]:
            continue
        if newest[s] < 0:
            oldest[s], newest[s] = at, at
        elif at > newest[s]:
            if at > newest[s] + 1:
                from_out[i], until_out[i] = newest[s] + 1, at
            newest[s] = at
        elif at < oldest[s]:
            if at < oldest[s] - 1:
                from_out[i], until_out[i] = at + 1, oldest[s]
            oldest[s] = at
    state.cursor[0] = stop


@njit(cache=True, nogil=True)
def moves_kernel(
    stop,
    notable,
    window,
    least,
    period,
    owner,
    event,
    known,
    retracts,
    log_value,
    action_first,
    action_event,
    action_known,
    action_log,
    state,
    move_out,
    scale_out,
    previous_out,
    after_out,
    witness_out,
):
    """Fill each statement's log move from the period before, its trailing robust scale, and what the next period said.

    A period counts while its standing statement has a value (log_value is not NaN). The move is log_value less that of
    the period before, plus the logs of the splits known by then with an ex-time between the two. The scale is the MAD,
    as a standard deviation, of the last `window` plain moves before this one, NaN with fewer than `least` of them, and
    NaN where |move| < notable: nobody asks there, and it costs the most. after is the same distance of the next
    period's value from the level before the move, as first stated: witness is the statement that completed it (the
    row itself if the next period was there already), -1 while there is none.

    action_first (n_series + 1,) the actions of a series, sorted by event. Source: the MAD as a scale after Hampel, The
    influence curve and its role in robust estimation, JASA 69 (1974).
    """
    top = state.top
    moves = np.empty(window)
    for i in range(state.cursor[0], stop):
        p = period[i]
        s = owner[p]
        _arrive(i, p, s, retracts[i], state)
        move_out[i], scale_out[i], after_out[i] = np.nan, np.nan, np.nan
        previous_out[i], witness_out[i] = -1, -1
        if retracts[i] or np.isnan(log_value[i]):
            continue
        lowest, beyond = state.reach[s, 0], state.reach[s, 1] + 1
        q = _valued(p - 1, lowest, -1, top, log_value)
        if q < 0:
            continue
        h = top[q]
        split = _splits(event[h], event[i], known[i], action_first[s], action_first[s + 1], action_event, action_known,
                        action_log)  # fmt: skip
        previous_out[i] = h
        move_out[i] = log_value[i] - log_value[h] + split
        if abs(move_out[i]) >= notable:
            n = _trailing(q, lowest, top, log_value, moves)
            scale_out[i] = _mad(moves, n) if n >= least else np.nan
        q = _valued(p + 1, beyond, 1, top, log_value)
        if q >= 0:
            j = top[q]
            split = _splits(event[i], event[j], known[i], action_first[s], action_first[s + 1], action_event,
                            action_known, action_log)  # fmt: skip
            after_out[i], witness_out[i] = move_out[i] + (log_value[j] - log_value[i] + split), i
        if previous_out[h] >= 0 and witness_out[h] < 0:
            after_out[h], witness_out[h] = move_out[h] + move_out[i], i
    state.cursor[0] = stop


@njit(cache=True, nogil=True)
def _valued(q, end, step, top, log_value):
    """The first period from q on, short of the end, that stands and has a value; -1: none. Steps down include `end`."""
    while (q >= end) if step < 0 else (q < end):
        if top[q] >= 0 and not np.isnan(log_value[top[q]]):
            return q
        q += step
    return -1


@njit(cache=True, nogil=True)
def _splits(after, until, known, start, stop, action_event, action_known, action_log):
    """Sum of the log ratios of a series' splits with after < ex-time <= until that were known by `known`."""
    total = 0.0
    for k in range(start, stop):
        if action_event[k] > until:
            break
        if action_event[k] > after and action_known[k] <= known:
            total += action_log[k]
    return total


@njit(cache=True, nogil=True)
def _trailing(q, lowest, top, log_value, out):
    """Fill the last moves that end in period q or before, newest first; returns how many there are."""
    n = 0
    newer = log_value[top[q]]
    while n < out.shape[0]:
        q = _valued(q - 1, lowest, -1, top, log_value)
        if q < 0:
            break
        older = log_value[top[q]]
        out[n] = newer - older
        newer = older
        n += 1
    return n


@njit(cache=True, nogil=True)
def _mad(values, n):
    """Median absolute deviation of values[:n] as a standard deviation; the values are overwritten."""
    centre = _median(values, n)
    for k in range(n):
        values[k] = abs(values[k] - centre)
    return _MAD_TO_SIGMA * _median(values, n)


@njit(cache=True, nogil=True)
def _median(values, n):
    """Median of values[:n], which are reordered: the middle one, or the mean of the two middle ones."""
    high = select(values, n, n // 2)
    if n % 2 == 1:
        return high
    low = values[0]
    for k in range(1, n // 2):
        low = max(low, values[k])
    return 0.5 * (low + high)
