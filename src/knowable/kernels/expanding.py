"""All rows so far: sum, mean, deviation, extreme, count. What is missing is skipped.

A window forgets a gap; all rows so far never would, so a NaN or an infinity is left out, as pandas' expanding() does,
and the last answer stands while values are missing. NaN before the first value; the count is 0.

Totals only grow, so nothing is ever subtracted from them; they are kept as two doubles whose exact sum they are, so
that a million rows do not drift. Source: exact addition of two doubles after Knuth, TAOCP vol. 2, 4.2.2, theorem B.

Every loop reads its state before it chooses, and writes it whatever it chose: of a load that depends on a condition
LLVM takes it that it overlaps the store after it, and never enters the vector code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.arithmetic import HELPER, one_nan

__all__ = [
    "CountState",
    "ExtremeSoFarState",
    "SpreadSoFarState",
    "TotalState",
    "count_kernel",
    "count_state",
    "extreme_so_far_kernel",
    "extreme_so_far_state",
    "mean_so_far_kernel",
    "spread_so_far_kernel",
    "spread_so_far_state",
    "sum_so_far_kernel",
    "total_state",
]


class TotalState(NamedTuple):
    """State of `sum_so_far_kernel` and `mean_so_far_kernel`."""

    total: np.ndarray  # (2, n_assets) high and low: their exact sum
    known: np.ndarray  # (n_assets,) values so far


class SpreadSoFarState(NamedTuple):
    """State of `spread_so_far_kernel`; a pair is high and low, whose exact sum it is."""

    mean: np.ndarray  # (2, n_assets)
    squares: np.ndarray  # (2, n_assets) sum of squared deviations
    known: np.ndarray  # (n_assets,)


class ExtremeSoFarState(NamedTuple):
    """State of `extreme_so_far_kernel`."""

    best: np.ndarray  # (n_assets,) NaN before the first value


class CountState(NamedTuple):
    """State of `count_kernel`."""

    known: np.ndarray  # (n_assets,)


def total_state(n_assets: int) -> TotalState:
    """State before the first row."""
    return TotalState(np.zeros((2, n_assets)), np.zeros(n_assets))


def spread_so_far_state(n_assets: int) -> SpreadSoFarState:
    """State before the first row."""
    return SpreadSoFarState(np.zeros((2, n_assets)), np.zeros((2, n_assets)), np.zeros(n_assets))


def extreme_so_far_state(n_assets: int) -> ExtremeSoFarState:
    """State before the first row."""
    return ExtremeSoFarState(np.full(n_assets, np.nan))


def count_state(n_assets: int) -> CountState:
    """State before the first row."""
    return CountState(np.zeros(n_assets))


@njit(cache=True, nogil=True, error_model="numpy")
def sum_so_far_kernel(x, state, out):
    """Sum of the values so far. NaN before the first."""
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            total, count = _add(x[t, j], j, state)
            out[t, j] = one_nan(total if count > 0.0 else np.nan)


@njit(cache=True, nogil=True, error_model="numpy")
def mean_so_far_kernel(x, state, out):
    """Mean of the values so far. NaN before the first."""
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            total, count = _add(x[t, j], j, state)
            out[t, j] = one_nan(total / count)


@njit(cache=True, nogil=True, error_model="numpy")
def spread_so_far_kernel(x, state, out):
    """Sample deviation (n - 1) of the values so far. NaN before the second. Source: Welford (1962), Technometrics 4."""
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            value, count = x[t, j], state.known[j]
            high, low = state.mean[0, j], state.mean[1, j]
            squares, lost = state.squares[0, j], state.squares[1, j]
            known = value - value == 0.0
            gap = value - high - low
            more = count + 1.0
            mean, rest = _exact(high, gap / more + low)
            whole, part = _exact(squares, gap * (gap * (count / more)) + lost)
            squares = whole if known else squares
            count = more if known else count
            state.mean[0, j] = mean if known else high
            state.mean[1, j] = rest if known else low
            state.squares[0, j] = squares
            state.squares[1, j] = part if known else lost
            state.known[j] = count
            out[t, j] = one_nan(np.sqrt(squares / (count - 1.0 if count > 1.0 else np.nan)))


@njit(cache=True, nogil=True, error_model="numpy")
def extreme_so_far_kernel(x, sign, state, out):
    """Smallest (sign 1.0) or largest (sign -1.0) of the values so far. NaN before the first."""
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            value, best = x[t, j], state.best[j]
            better = sign * value < sign * best or best != best
            best = value if better and value - value == 0.0 else best
            state.best[j] = best
            out[t, j] = best


@njit(cache=True, nogil=True, error_model="numpy")
def count_kernel(x, state, out):
    """How many values there were so far; 0 before the first."""
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            count = state.known[j] + (1.0 if x[t, j] - x[t, j] == 0.0 else 0.0)
            state.known[j] = count
            out[t, j] = count


@njit(**HELPER)
def _add(value, j, state):
    """Take a value into the total, unless it is missing. Returns: total and count."""
    count, known = state.known[j], value - value == 0.0
    high, low = _exact(state.total[0, j], value if known else 0.0)
    low += state.total[1, j]
    count += 1.0 if known else 0.0
    state.total[0, j] = high
    state.total[1, j] = low
    state.known[j] = count
    return high + (
        low if low == low else 0.0
    ), count  # low is NaN beside an infinity: a total beyond the largest double


@njit(cache=True, nogil=True, error_model="numpy")
def _exact(a, b):
    """The sum as a double, and what that lost to rounding."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
