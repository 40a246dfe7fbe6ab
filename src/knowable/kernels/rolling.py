"""Moving windows over rows, one column an asset: sum, deviation, extreme, exponential mean, lag.

Every kernel is a resumable scan: it takes rows and the state it left behind, writes `out`, and leaves the state for the
rows to come. One call over all rows, a call a row, and anything between give the same bits.

Windows are kept as *two stacks*. Rows are cut into blocks of `window`; the window that ends in slot s of a block is
what the previous block holds after s (its suffix) and what this block holds up to s (its head). A head grows by one
value a row, the suffixes of a block are folded once when it is complete, in place, and a window is one merge of both.
Nothing is ever subtracted from a running total, so no error drifts, and a NaN, an infinity or 1e300 is forgotten the
moment it leaves. The cost is three short vectorised passes a value, whatever the window. Folds count down in `place`
and not in a loop variable where that is faster: see `pairs`.

Rejected: add-and-subtract with Kahan's compensation (4.6 ms on 5,000 x 500 where this takes 7.5; wrong for ever after
1e300, and a deviation needs the difference of two large sums); a monotonic deque for extremes (a branch a value that
the processor cannot foresee and the compiler cannot vectorise).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.columns import deviation_column, sum_column

__all__ = [
    "DeviationState",
    "EwmState",
    "ExtremeState",
    "LagState",
    "SumState",
    "deviation_kernel",
    "deviation_state",
    "ewm_kernel",
    "ewm_state",
    "extreme_kernel",
    "extreme_state",
    "lag_kernel",
    "lag_state",
    "sum_kernel",
    "sum_state",
]

# `place` in each window state: [slot of the next row in its block, 1 once the first block is complete].


class SumState(NamedTuple):
    """State of `sum_kernel`; each total is a pair (high, low) whose exact sum it is, to about 32 digits."""

    high: np.ndarray  # (window + 1, n_assets) suffix totals; raw values up to the slot; the last row stays 0
    low: np.ndarray  # (window + 1, n_assets) what `high` lost to rounding
    head: np.ndarray  # (2, n_assets) high and low of this block's total
    place: np.ndarray  # (2,) int64


class DeviationState(NamedTuple):
    """State of `deviation_kernel`: mean and sum of squared deviations, each measured from a value of its own block."""

    mean: np.ndarray  # (window, n_assets) suffix means less `anchor[1]`; raw values up to the slot
    squares: np.ndarray  # (window, n_assets) suffix sums of squared deviations
    head: np.ndarray  # (2, n_assets) mean less `anchor[0]`, and squares, of this block
    anchor: np.ndarray  # (2, n_assets) this block's first value, the previous block's last
    place: np.ndarray  # (2,) int64


class ExtremeState(NamedTuple):
    """State of `extreme_kernel`, in values that are smallest first."""

    suffix: np.ndarray  # (window + 1, n_assets) suffix minima; raw values up to the slot; the last row stays +inf
    head: np.ndarray  # (n_assets,) this block's minimum
    place: np.ndarray  # (2,) int64


class EwmState(NamedTuple):
    """State of `ewm_kernel`."""

    mean: np.ndarray  # (n_assets,) NaN before the first value
    weight: np.ndarray  # (n_assets,) weight of `mean` against a new value's 1


class LagState(NamedTuple):
    """State of `lag_kernel`."""

    recent: np.ndarray  # (lag, n_assets) a ring of the last rows, oldest at the slot
    place: np.ndarray  # (1,) int64 slot of the oldest


def sum_state(window: int, n_assets: int) -> SumState:
    """State before the first row."""
    return SumState(
        np.zeros((window + 1, n_assets)),
        np.zeros((window + 1, n_assets)),
        np.zeros((2, n_assets)),
        np.zeros(2, np.int64),
    )


def deviation_state(window: int, n_assets: int) -> DeviationState:
    """State before the first row."""
    return DeviationState(
        np.zeros((window, n_assets)),
        np.zeros((window, n_assets)),
        np.zeros((2, n_assets)),
        np.zeros((2, n_assets)),
        np.zeros(2, np.int64),
    )


def extreme_state(window: int, n_assets: int) -> ExtremeState:
    """State before the first row."""
    suffix = np.zeros((window + 1, n_assets))
    suffix[window] = np.inf
    return ExtremeState(suffix, np.full(n_assets, np.inf), np.zeros(2, np.int64))


def ewm_state(n_assets: int) -> EwmState:
    """State before the first row."""
    return EwmState(np.full(n_assets, np.nan), np.ones(n_assets))


def lag_state(lag: int, n_assets: int) -> LagState:
    """State before the first row."""
    return LagState(np.full((lag, n_assets), np.nan), np.zeros(1, np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def sum_kernel(x, divisor, state, out):
    """Sum of the last `window` rows over `divisor` (1: sum, window: mean). NaN until the window is full.

    A NaN in the window gives NaN, infinities follow IEEE. Source: exact addition of two doubles after Knuth, TAOCP
    vol. 2, 4.2.2, theorem B.
    """
    high, low, head, place = state.high, state.low, state.head, state.place
    window, n_assets = high.shape[0] - 1, high.shape[1]
    if n_assets == 1:
        sum_column(x, divisor, high, low, head, place, out)
        return
    slot, complete = place[0], place[1]
    for t in range(x.shape[0]):
        if slot == 0:
            for j in range(n_assets):
                head[0, j] = 0.0
                head[1, j] = 0.0
        for j in range(n_assets):
            value, total = x[t, j], head[0, j]
            grown = total + value
            part = grown - total
            lost = head[1, j] + ((total - (grown - part)) + (value - part))
            head[0, j] = grown
            head[1, j] = lost
            high[slot, j] = value
            older = high[slot + 1, j]
            whole = grown + older
            part = whole - grown
            lost += low[slot + 1, j] + ((grown - (whole - part)) + (older - part))
            made = (whole + (lost if lost == lost else 0.0)) / divisor  # lost is NaN beside an infinity
            out[t, j] = made if made == made else np.nan
        slot += 1
        if complete == 0 and slot < window:
            for j in range(n_assets):
                out[t, j] = np.nan
        if slot == window:
            slot, complete = 0, 1
            place[0] = window
            while place[0] > 0:
                place[0] -= 1
                i = place[0]
                for j in range(n_assets):
                    total, value = high[i + 1, j], high[i, j]
                    grown = total + value
                    part = grown - total
                    low[i, j] = low[i + 1, j] + ((total - (grown - part)) + (value - part))
                    high[i, j] = grown
    place[0], place[1] = slot, complete


@njit(cache=True, nogil=True, error_model="numpy")
def deviation_kernel(x, state, out):
    """Sample standard deviation (n - 1) of the last `window` rows. NaN until the window is full.

    Values are measured from one that lies in the window, so the error does not grow with the level, a constant gives
    exactly 0, and the sum of squares is a sum of terms that are never negative. A NaN or an infinity in the window
    gives NaN. Source: Welford (1962), Technometrics 4; merging after Chan, Golub, LeVeque (1983), Am. Stat. 37.
    """
    mean, squares, head, anchor, place = state.mean, state.squares, state.head, state.anchor, state.place
    window, n_assets = mean.shape
    if n_assets == 1:
        deviation_column(x, mean, squares, head, anchor, place, out)
        return
    slot, complete = place[0], place[1]
    freedom = window - 1.0 if window > 1 else np.nan  # one value has no deviation
    for t in range(x.shape[0]):
        count, older = slot + 1.0, window - slot - 1.0
        share, pull = 1.0 / count, count * older / window
        if slot == 0:
            for j in range(n_assets):
                anchor[0, j] = x[t, j]
                head[0, j] = 0.0
                head[1, j] = 0.0
        for j in range(n_assets):
            value = x[t, j] - anchor[0, j]
            gap = value - head[0, j]
            head[0, j] += gap * share
            head[1, j] += gap * (value - head[0, j])
            mean[slot, j] = x[t, j]
        if slot + 1 == window:
            for j in range(n_assets):
                total = head[1, j] / freedom
                out[t, j] = np.sqrt(total) if total == total else np.nan
        elif complete == 0:
            for j in range(n_assets):
                out[t, j] = np.nan
        else:
            for j in range(n_assets):
                gap = (anchor[0, j] - anchor[1, j]) + (head[0, j] - mean[slot + 1, j])
                total = (head[1, j] + squares[slot + 1, j] + gap * gap * pull) / freedom
                out[t, j] = np.sqrt(total) if total == total else np.nan
        slot += 1
        if slot == window:
            slot, complete = 0, 1
            for j in range(n_assets):
                anchor[1, j] = mean[window - 1, j]
                mean[window - 1, j] -= anchor[1, j]
                squares[window - 1, j] = 0.0
            place[0] = window - 1
            while place[0] > 0:
                place[0] -= 1
                i = place[0]
                share = 1.0 / (window - i)
                for j in range(n_assets):
                    value = mean[i, j] - anchor[1, j]
                    gap = value - mean[i + 1, j]
                    mean[i, j] = mean[i + 1, j] + gap * share
                    squares[i, j] = squares[i + 1, j] + gap * (value - mean[i, j])
    place[0], place[1] = slot, complete


@njit(cache=True, nogil=True, error_model="numpy")
def extreme_kernel(x, sign, state, out):
    """Smallest (sign 1.0) or largest (sign -1.0) of the last `window` rows. NaN until full, and for a NaN within."""
    suffix, head, place = state.suffix, state.head, state.place
    window, n_assets = suffix.shape[0] - 1, suffix.shape[1]
    slot, complete = place[0], place[1]
    for t in range(x.shape[0]):
        if slot == 0:
            for j in range(n_assets):
                head[j] = np.inf
        for j in range(n_assets):
            value, best = sign * x[t, j], head[j]
            best = best if best <= value or best != best else value  # a NaN on either side wins
            head[j] = best
            suffix[slot, j] = value
            older = suffix[slot + 1, j]
            out[t, j] = sign * (best if best <= older or best != best else older)
        slot += 1
        if complete == 0 and slot < window:
            for j in range(n_assets):
                out[t, j] = np.nan
        if slot == window:
            slot, complete = 0, 1
            for i in range(window - 1, -1, -1):
                for j in range(n_assets):
                    value, best = suffix[i, j], suffix[i + 1, j]
                    suffix[i, j] = best if best <= value or best != best else value
    place[0], place[1] = slot, complete


@njit(cache=True, nogil=True, error_model="numpy")
def ewm_kernel(x, alpha, state, out):
    """Mean with weights (1 - alpha)**age over all rows so far; a gap (NaN, infinity) ages what came before it.

    The last mean stands while values are missing; NaN before the first. Equal to pandas' ewm(adjust=True,
    ignore_na=False).mean(). A constant stays that constant to the bit.
    """
    mean, weight = state.mean, state.weight
    keep = 1.0 - alpha
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            value, before = x[t, j], mean[j]
            aged = weight[j] * keep
            if value - value != 0.0:  # NaN or infinite
                weight[j] = aged
            elif before != before:
                mean[j] = value
                weight[j] = 1.0
            else:
                mean[j] = before + (value - before) / (aged + 1.0)
                weight[j] = aged + 1.0
            out[t, j] = mean[j]


@njit(cache=True, nogil=True, error_model="numpy")
def lag_kernel(x, state, out):
    """The row `lag` rows before; NaN where there is none. Needs lag >= 1."""
    n_assets, place = x.shape[1], state.place
    source, target = x.reshape(x.size), out.reshape(out.size)
    ring = state.recent.reshape(state.recent.size)
    shift, at = ring.size, place[0] * n_assets
    for i in range(min(shift, target.size)):
        target[i] = ring[(at + i) % shift]
    for i in range(shift, target.size):
        target[i] = source[i - shift]
    first = max(source.size - shift, 0)
    for i in range(first, source.size):
        ring[(at + i) % shift] = source[i]
    place[0] = ((at + source.size) % shift) // n_assets
