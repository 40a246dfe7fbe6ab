"""Moments of an asset's own past: variance, z-score and skewness of windows, exponentially weighted deviation.

Windows are two stacks, as `rolling` explains, of means and of sums of squared and cubed deviations. All is measured
from the block before's last row, which lies in every window of this block but the last; the last is the whole block,
and is read from the suffixes folded from it, which are measured from its own last row. So the error does not grow with
the level, and a constant has a sum of squares of exactly 0. A NaN or an infinity in a window gives NaN.

Source: Welford (1962), Technometrics 4; merging after Chan, Golub, LeVeque (1983), Am. Stat. 37; the third moment after
Pebay (2008), Sandia report SAND2008-6212, "Formulas for robust, one-pass parallel computation of covariances and
arbitrary-order statistical moments", formulas 1.2 and 1.6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.arithmetic import ENTRY, HELPER, measured, one_nan

__all__ = [
    "EwmDeviationState",
    "SkewState",
    "SpreadState",
    "ewm_deviation_kernel",
    "ewm_deviation_state",
    "score_kernel",
    "skew_kernel",
    "skew_state",
    "spread_state",
    "variance_kernel",
]


class SpreadState(NamedTuple):
    """State of `variance_kernel` and `score_kernel`; the last row of each suffix stays 0."""

    mean: np.ndarray  # (window + 1, n_assets) suffix means less `origin`; raw values up to the slot
    squares: np.ndarray  # (window + 1, n_assets) suffix sums of squared deviations
    head: np.ndarray  # (2, n_assets) of this block: mean less `origin`, squares
    origin: np.ndarray  # (n_assets,) last value of the block before
    place: np.ndarray  # (2,) int64: slot of the next row in its block, 1 once the first block is complete


class SkewState(NamedTuple):
    """State of `skew_kernel`; the last row of each suffix stays 0."""

    mean: np.ndarray  # (window + 1, n_assets) suffix means less `origin`; raw values up to the slot
    squares: np.ndarray  # (window + 1, n_assets) suffix sums of squared deviations
    cubes: np.ndarray  # (window + 1, n_assets) suffix sums of cubed deviations
    head: np.ndarray  # (3, n_assets) of this block: mean less `origin`, squares, cubes
    origin: np.ndarray  # (n_assets,) last value of the block before
    place: np.ndarray  # (2,) int64: slot of the next row in its block, 1 once the first block is complete


class EwmDeviationState(NamedTuple):
    """State of `ewm_deviation_kernel`."""

    mean: np.ndarray  # (2, n_assets) mean so far, high and low: their exact sum
    weight: np.ndarray  # (n_assets,) sum of weights, against a new value's 1
    cross: np.ndarray  # (n_assets,) sum of products of the weights of two different values
    squares: np.ndarray  # (n_assets,) weighted sum of squared deviations
    last: np.ndarray  # (n_assets,) the deviation at the last value


def spread_state(window: int, n_assets: int) -> SpreadState:
    """State before the first row."""
    return SpreadState(
        np.zeros((window + 1, n_assets)),
        np.zeros((window + 1, n_assets)),
        np.zeros((2, n_assets)),
        np.zeros(n_assets),
        np.zeros(2, np.int64),
    )


def skew_state(window: int, n_assets: int) -> SkewState:
    """State before the first row."""
    return SkewState(
        np.zeros((window + 1, n_assets)),
        np.zeros((window + 1, n_assets)),
        np.zeros((window + 1, n_assets)),
        np.zeros((3, n_assets)),
        np.zeros(n_assets),
        np.zeros(2, np.int64),
    )


def ewm_deviation_state(n_assets: int) -> EwmDeviationState:
    """State before the first row."""
    return EwmDeviationState(
        np.zeros((2, n_assets)),
        np.zeros(n_assets),
        np.zeros(n_assets),
        np.zeros(n_assets),
        np.full(n_assets, np.nan),
    )


@njit(**ENTRY)
def variance_kernel(x, state, out):
    """Sample variance (n - 1) of the last `window` rows. NaN until the window is full, and for a window of 1."""
    window = state.mean.shape[0] - 1
    freedom = window - 1.0 if window > 1 else np.nan
    for t in range(x.shape[0]):
        slot = state.place[0]
        for j in range(x.shape[1]):
            out[t, j] = one_nan(_enter(x, t, j, slot, state)[1] / freedom)
        if _block_ends(state, out, t):
            for j in range(x.shape[1]):
                out[t, j] = one_nan(state.squares[0, j] / freedom)


@njit(**ENTRY)
def score_kernel(x, state, out):
    """The last value less the window's mean, over its sample deviation. NaN until full, and for a constant window."""
    window = state.mean.shape[0] - 1
    freedom = window - 1.0 if window > 1 else np.nan
    for t in range(x.shape[0]):
        slot = state.place[0]
        for j in range(x.shape[1]):
            off, squares = _enter(x, t, j, slot, state)
            out[t, j] = one_nan(off / np.sqrt(measured(squares) / freedom))
        if _block_ends(state, out, t):
            for j in range(x.shape[1]):
                out[t, j] = one_nan(-state.mean[0, j] / np.sqrt(measured(state.squares[0, j]) / freedom))


@njit(**ENTRY)
def skew_kernel(x, state, out):
    """Bias-corrected skewness of the last `window` rows. NaN until full, for a constant window, and below 3 rows.

    Source: the adjusted Fisher-Pearson coefficient, G1 in Joanes, Gill (1998), The Statistician 47.
    """
    window = state.mean.shape[0] - 1
    factor = window * np.sqrt(window - 1.0) / (window - 2.0) if window > 2 else np.nan
    for t in range(x.shape[0]):
        slot = state.place[0]
        for j in range(x.shape[1]):
            squares, cubes = _enter_cubes(x, t, j, slot, state)
            out[t, j] = _skewness(factor, squares, cubes)
        if _block_with_cubes_ends(state, out, t):
            for j in range(x.shape[1]):
                out[t, j] = _skewness(factor, state.squares[0, j], state.cubes[0, j])


@njit(**ENTRY)
def _skewness(factor, squares, cubes):
    known = squares if 1e-200 < squares < 1e200 else np.nan  # else the cubes have left the range of a double
    return one_nan(factor * (cubes / known) / np.sqrt(known))


@njit(**ENTRY)
def ewm_deviation_kernel(x, keep, state, out):
    """Deviation with weights keep**age over all rows so far, corrected for bias; a gap ages what came before.

    A gap is a NaN or an infinity; the last deviation stands while values are missing. NaN before the second value.
    Equal to pandas' ewm(adjust=True, ignore_na=False).std(bias=False). The mean is kept as two doubles, so that the
    error does not grow with the level. Bias: West (1979), Comm. ACM 22, with reliability weights: squares over
    (W - sum(w**2) / W), where W**2 - sum(w**2) is kept as such and no difference is formed.
    """
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            value, high, low, last = x[t, j], state.mean[0, j], state.mean[1, j], state.last[j]
            known = value - value == 0.0
            aged = state.weight[j] * keep
            weight = aged + 1.0
            gap = value - high - low
            step = gap / weight + low
            grown = high + step
            part = grown - high
            lost = (high - (grown - part)) + (step - part)
            cross = state.cross[j] * keep * keep
            squares = state.squares[j] * keep
            cross_grown = cross + 2.0 * aged
            squares_grown = squares + gap * (gap * (aged / weight))
            deviation = one_nan(np.sqrt(squares_grown * (weight / cross_grown)))
            last = deviation if known else last
            state.mean[0, j] = grown if known else high
            state.mean[1, j] = lost if known else low
            state.weight[j] = weight if known else aged
            state.cross[j] = cross_grown if known else cross
            state.squares[j] = squares_grown if known else squares
            state.last[j] = last
            out[t, j] = last


@njit(**HELPER)
def _enter(x, t, j, slot, state):
    """Take a cell into the head of its block, keep it for the suffixes, and merge its window.

    Returns: the cell less the window's mean, the window's squares. Meaningless in the last slot.
    """
    head, window, after = state.head, state.mean.shape[0] - 1, slot + 1
    raw = x[t, j] + (x[t, j] - x[t, j])  # an infinity is missing
    u = raw - state.origin[j]
    gap = u - head[0, j]
    mean = head[0, j] + gap * (1.0 / after)
    squares = head[1, j] + gap * gap * (slot * (1.0 / after))
    state.mean[slot, j] = raw
    head[0, j] = mean
    head[1, j] = squares
    share = (window - after) / window
    gap = mean - state.mean[after, j]
    return u - (mean - gap * share), squares + state.squares[after, j] + gap * gap * (after * share)


@njit(**HELPER)
def _block_ends(state, out, t):
    """Go to the next slot. True where the block is complete; it is then folded into suffixes, in place."""
    mean, squares, origin, place, window = state.mean, state.squares, state.origin, state.place, state.mean.shape[0] - 1
    place[0] += 1
    if place[0] < window:
        if place[1] == 0:
            out[t] = np.nan
        return False
    for j in range(mean.shape[1]):
        origin[j] = mean[window - 1, j]
        state.head[0, j] = 0.0
        state.head[1, j] = 0.0
    while place[0] > 0:  # down in `place`, not in a loop variable: see `pairs`
        place[0] -= 1
        i = place[0]
        share = 1.0 / (window - i)
        for j in range(mean.shape[1]):
            gap = mean[i, j] - origin[j] - mean[i + 1, j]
            mean[i, j] = mean[i + 1, j] + gap * share
            squares[i, j] = squares[i + 1, j] + gap * gap * (1.0 - share)
    place[1] = 1
    return True


@njit(**HELPER)
def _enter_cubes(x, t, j, slot, state):
    """As `_enter`; returns the window's squares and cubes."""
    head, window, after = state.head, state.mean.shape[0] - 1, slot + 1
    raw = x[t, j] + (x[t, j] - x[t, j])
    gap = raw - state.origin[j] - head[0, j]
    share = 1.0 / after
    mean = head[0, j] + gap * share
    pull = gap * gap * (slot * share)
    cubes = head[2, j] + gap * (pull * ((slot - 1.0) * share)) - 3.0 * gap * (head[1, j] * share)
    squares = head[1, j] + pull
    state.mean[slot, j] = raw
    head[0, j] = mean
    head[1, j] = squares
    head[2, j] = cubes
    young, old = after / window, (window - after) / window
    gap = mean - state.mean[after, j]
    pull = gap * gap * (after * old)
    lean = 3.0 * gap * (old * squares - young * state.squares[after, j])
    return (
        squares + state.squares[after, j] + pull,
        cubes + state.cubes[after, j] + gap * (pull * (old - young)) + lean,
    )


@njit(**HELPER)
def _block_with_cubes_ends(state, out, t):
    """As `_block_ends`."""
    mean, squares, cubes, origin = state.mean, state.squares, state.cubes, state.origin
    place, window = state.place, mean.shape[0] - 1
    place[0] += 1
    if place[0] < window:
        if place[1] == 0:
            out[t] = np.nan
        return False
    for j in range(mean.shape[1]):
        origin[j] = mean[window - 1, j]
        for k in range(3):
            state.head[k, j] = 0.0
    while place[0] > 0:
        place[0] -= 1
        i = place[0]
        share = 1.0 / (window - i)
        rest, lean = 1.0 - share, (window - i - 2.0) * share
        for j in range(mean.shape[1]):
            gap = mean[i, j] - origin[j] - mean[i + 1, j]
            pull = gap * gap * rest
            cubes[i, j] = cubes[i + 1, j] + gap * (pull * lean) - 3.0 * gap * (squares[i + 1, j] * share)
            mean[i, j] = mean[i + 1, j] + gap * share
            squares[i, j] = squares[i + 1, j] + pull
    place[1] = 1
    return True
