"""Slower clocks on the rows of a faster one: where periods end, what a period holds, and days gone by.

A period is a run of rows with one number. `ends_kernel` says at each row what is known there about ends, in one number:
0 nothing, 1 this row ends its period, 2 the row *before* ended one and only this row shows it, 3 both. What ends at the
row before has the value of that row. Every kernel is a resumable scan: any chunking gives the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "WAYS",
    "DaysState",
    "EndsState",
    "PeriodState",
    "days_since_kernel",
    "days_since_state",
    "end_rows_kernel",
    "ends_kernel",
    "ends_state",
    "hold_kernel",
    "period_kernel",
    "period_state",
]

WAYS = ("last", "first", "min", "max", "sum", "mean")  # to make one value of a period; kernels take the position
_LAST, _, _MIN, _MAX, _SUM, _MEAN = range(len(WAYS))


class EndsState(NamedTuple):
    """State of `ends_kernel`."""

    n_rows: np.ndarray  # (1,) int64 rows seen
    period: np.ndarray  # (1,) int64 the period of the last row
    ended: np.ndarray  # (1,) int64 1 once that period was said to have ended


class PeriodState(NamedTuple):
    """State of `period_kernel`: the unfinished period, and the value of the last finished one."""

    value: np.ndarray  # (n_assets,) first, last, lowest, highest or the total so far
    lost: np.ndarray  # (n_assets,) what the total lost to rounding
    n_values: np.ndarray  # (n_assets,) values so far
    held: np.ndarray  # (n_assets,) NaN before the first end


class DaysState(NamedTuple):
    """State of `days_since_kernel`."""

    day: np.ndarray  # (n_assets,) when it was last true; NaN: never yet


def ends_state() -> EndsState:
    """State before the first row."""
    return EndsState(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64))


def period_state(n_assets: int) -> PeriodState:
    """State before the first row."""
    return PeriodState(np.zeros(n_assets), np.zeros(n_assets), np.zeros(n_assets), np.full(n_assets, np.nan))


def days_since_state(n_assets: int) -> DaysState:
    """State before the first row."""
    return DaysState(np.full(n_assets, np.nan))


@njit(cache=True, nogil=True, error_model="numpy")
def ends_kernel(period, known, state, out):
    """What each row knows about ends of periods.

    Args: period: (n,) int64. known: (n,) bool, rows of which it is known ahead that they end their period. out: (n,).
    A period ends once: rows of it that come after an end belong to the next.
    """
    for t in range(period.shape[0]):
        code = 0.0
        if state.n_rows[0] > 0 and period[t] != state.period[0]:
            if state.ended[0] == 0:
                code = 2.0
            state.ended[0] = 0
        if known[t] and state.ended[0] == 0:
            code += 1.0
            state.ended[0] = 1
        state.period[0] = period[t]
        state.n_rows[0] += 1
        out[t] = code


@njit(cache=True, nogil=True, error_model="numpy")
def end_rows_kernel(ends, out):
    """The rows that end periods, in order, -1 being the row before the first; returns how many. out: (2n,) int64."""
    n_ends = 0
    for t in range(ends.shape[0]):
        if ends[t, 0] >= 2.0:
            out[n_ends] = t - 1
            n_ends += 1
        if ends[t, 0] == 1.0 or ends[t, 0] == 3.0:
            out[n_ends] = t
            n_ends += 1
    return n_ends


@njit(cache=True, nogil=True, error_model="numpy")
def hold_kernel(ends, values, held, out):
    """One row of `values` (n_ends, n_assets) for each end, held until the next; `held` is the last one before."""
    n_assets, k = out.shape[1], -1
    for t in range(out.shape[0]):
        code = ends[t, 0]
        if code > 0.0:
            k += 2 if code == 3.0 else 1
            for j in range(n_assets):
                held[j] = values[k, j]
        for j in range(n_assets):
            out[t, j] = held[j]


@njit(cache=True, nogil=True, error_model="numpy")
def period_kernel(x, ends, how, state, out):
    """The last, first, lowest or highest value, the sum or the mean of the last finished period, held until the next.

    Missing values (NaN) are skipped; a period without any is NaN; infinities follow IEEE. Totals are two doubles each.
    Source: exact addition after Knuth, TAOCP vol. 2, 4.2.2, theorem B.
    """
    value, lost, count = state.value, state.lost, state.n_values
    n_assets = x.shape[1]
    for t in range(x.shape[0]):
        code = ends[t, 0]
        if code >= 2.0:
            _finish(how, state)
        for j in range(n_assets):
            new = x[t, j]
            if new == new:
                old = value[j]
                if count[j] == 0.0 or how == _LAST:
                    value[j] = new
                elif how == _MIN:
                    value[j] = min(old, new)
                elif how == _MAX:
                    value[j] = max(old, new)
                elif how >= _SUM:
                    grown = old + new
                    part = grown - old
                    lost[j] += (old - (grown - part)) + (new - part)
                    value[j] = grown
                count[j] += 1.0
        if code == 1.0 or code == 3.0:
            _finish(how, state)
        for j in range(n_assets):
            out[t, j] = state.held[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _finish(how, state):
    """Hold what the period came to, and begin the next."""
    value, lost, count, held = state.value, state.lost, state.n_values, state.held
    for j in range(value.shape[0]):
        whole = value[j] + (lost[j] if lost[j] == lost[j] else 0.0)  # lost is NaN beside an infinity
        whole = whole / count[j] if how == _MEAN else whole
        held[j] = whole if count[j] > 0.0 and whole == whole else np.nan
        value[j] = 0.0
        lost[j] = 0.0
        count[j] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def days_since_kernel(condition, day, state, out):
    """Calendar days since the condition was last true (neither 0 nor NaN); NaN before it ever was. day: (n, 1)."""
    last = state.day
    for t in range(condition.shape[0]):
        for j in range(condition.shape[1]):
            value = condition[t, j]
            if value == value and value != 0.0:
                last[j] = day[t, 0]
            out[t, j] = day[t, 0] - last[j]
