"""What the path of an asset adds up to: weighted means that fade, products, and how long ago something was.

Every kernel is a resumable scan, as those of `rolling`; where sums or products are folded, windows are kept as its two
stacks, so nothing is subtracted from a running total or divided out of a running product, and nothing drifts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "CountState",
    "DecayState",
    "FillState",
    "ProductState",
    "SinceState",
    "count_kernel",
    "count_state",
    "decay_kernel",
    "decay_state",
    "fill_kernel",
    "fill_state",
    "product_kernel",
    "product_state",
    "since_kernel",
    "since_state",
]

_LARGE, _SMALL = 2.0**600, 2.0**-600
_HALF = 134_217_729.0  # 2**27 + 1 cuts a double into two halves of 26 bits

# `place` of a state with two stacks: [slot of the next row in its block, 1 once the first block is complete].


class DecayState(NamedTuple):
    """State of `decay_kernel`; each total is a pair of rows, high and low, whose exact sum it is."""

    total: np.ndarray  # (2, window + 1, n_assets) suffix sums; raw values up to the slot; the last row stays 0
    weighted: np.ndarray  # (2, window + 1, n_assets) suffix sums with weights 1, 2, ... from the suffix's oldest
    head: np.ndarray  # (4, n_assets) this block's sum, and the one with weights 1, 2, ...
    place: np.ndarray  # (2,) int64


class ProductState(NamedTuple):
    """State of `product_kernel`; each product is a number times a power of 2**600."""

    suffix: np.ndarray  # (window + 1, n_assets) suffix products; raw values up to the slot; the last row stays 1
    power: np.ndarray  # (window + 1, n_assets) their powers
    head: np.ndarray  # (2, n_assets) this block's product and its power
    place: np.ndarray  # (2,) int64


class CountState(NamedTuple):
    """State of `count_kernel`."""

    recent: np.ndarray  # (window, n_assets) bool: which of the last `window` cells have a value, oldest at the slot
    held: np.ndarray  # (n_assets,) how many
    place: np.ndarray  # (1,) int64 slot of the oldest


class SinceState(NamedTuple):
    """State of `since_kernel`."""

    age: np.ndarray  # (n_assets,) bars since the condition held; NaN before it first did


class FillState(NamedTuple):
    """State of `fill_kernel`."""

    known: np.ndarray  # (n_assets,) the last value; NaN before the first
    age: np.ndarray  # (n_assets,) int64 its age in bars


def decay_state(window: int, n_assets: int) -> DecayState:
    """State before the first row."""
    total, weighted = np.zeros((2, 2, window + 1, n_assets))
    return DecayState(total, weighted, np.zeros((4, n_assets)), np.zeros(2, np.int64))


def product_state(window: int, n_assets: int) -> ProductState:
    """State before the first row."""
    power = np.zeros((window + 1, n_assets))
    return ProductState(power + 1.0, power, np.zeros((2, n_assets)), np.zeros(2, np.int64))


def count_state(window: int, n_assets: int) -> CountState:
    """State before the first row."""
    return CountState(np.zeros((window, n_assets), np.bool_), np.zeros(n_assets), np.zeros(1, np.int64))


def since_state(n_assets: int) -> SinceState:
    """State before the first row."""
    return SinceState(np.full(n_assets, np.nan))


def fill_state(n_assets: int) -> FillState:
    """State before the first row."""
    return FillState(np.full(n_assets, np.nan), np.zeros(n_assets, np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def decay_kernel(x, state, out):
    """Mean of the last `window` rows with weights window, ..., 2, 1 from the newest back.

    NaN until the window is full, and for a NaN within; infinities follow IEEE. As a suffix grows by a row it also ages
    by one weight: its weighted sum is the one before and its plain sum. The head keeps weights 1, 2, ... from its
    oldest; what they lack of the full ones is the same for all its rows. So nothing is ever taken off. All sums are
    pairs of doubles, right to the last digits even where the window cancels; like any sum they may overflow. Source:
    exact sums and products of doubles after Dekker (1971), Numer. Math. 18.
    """
    total, weighted, head, place = state.total, state.weighted, state.head, state.place
    window, n_assets = total.shape[1] - 1, total.shape[2]
    slot, complete = place[0], place[1]
    divisor = 0.5 * window * (window + 1.0)
    for t in range(x.shape[0]):
        weight, lacking = slot + 1.0, window - slot - 1.0
        if slot == 0:
            for k in range(4):
                for j in range(n_assets):
                    head[k, j] = 0.0
        for j in range(n_assets):
            value = x[t, j]
            total[0, slot, j] = value
            high, low = _plus(head[0, j], head[1, j], value, 0.0)
            head[0, j], head[1, j] = high, low
            product, rest = _times(value, 0.0, weight)
            sum_high, sum_low = _plus(head[2, j], head[3, j], product, rest)
            head[2, j], head[3, j] = sum_high, sum_low
            if slot + 1 < window:  # an infinity times 0 would be NaN
                product, rest = _times(high, low, lacking)
                sum_high, sum_low = _plus(sum_high, sum_low, product, rest)
                sum_high, sum_low = _plus(sum_high, sum_low, weighted[0, slot + 1, j], weighted[1, slot + 1, j])
            mean = (
                sum_high + (sum_low if sum_low == sum_low else 0.0)
            ) / divisor  # the low one is NaN beside an infinity
            out[t, j] = mean if mean == mean else np.nan  # there is one NaN
        slot += 1
        if complete == 0 and slot < window:
            for j in range(n_assets):
                out[t, j] = np.nan
        if slot == window:
            slot, complete = 0, 1
            for i in range(window - 1, -1, -1):
                for j in range(n_assets):
                    high, low = _plus(total[0, i + 1, j], total[1, i + 1, j], total[0, i, j], 0.0)
                    total[0, i, j], total[1, i, j] = high, low
                    high, low = _plus(weighted[0, i + 1, j], weighted[1, i + 1, j], high, low)
                    weighted[0, i, j], weighted[1, i, j] = high, low
    place[0], place[1] = slot, complete


@njit(cache=True, nogil=True, error_model="numpy")
def product_kernel(x, state, out):
    """Product of the last `window` rows. NaN until the window is full, and for a NaN within; infinities follow IEEE.

    A part of the window may be far out of a double's range while the whole is not, so powers of 2**600 are kept apart.
    """
    suffix, power, head, place = state.suffix, state.power, state.head, state.place
    window, n_assets = suffix.shape[0] - 1, suffix.shape[1]
    slot, complete = place[0], place[1]
    for t in range(x.shape[0]):
        if slot == 0:
            for j in range(n_assets):
                head[0, j] = 1.0
                head[1, j] = 0.0
        for j in range(n_assets):
            value, scale = _scaled(x[t, j], 0.0)
            value, scale = _scaled(head[0, j] * value, head[1, j] + scale)
            head[0, j], head[1, j] = value, scale
            suffix[slot, j] = x[t, j]
            value, scale = _scaled(value * suffix[slot + 1, j], scale + power[slot + 1, j])
            for _ in range(3):  # more would be 0 or infinite anyway
                value *= _LARGE if scale > 0.0 else (_SMALL if scale < 0.0 else 1.0)
                scale -= np.sign(scale)
            out[t, j] = value if value == value else np.nan
        slot += 1
        if complete == 0 and slot < window:
            for j in range(n_assets):
                out[t, j] = np.nan
        if slot == window:
            slot, complete = 0, 1
            for i in range(window - 1, -1, -1):
                for j in range(n_assets):
                    value, scale = _scaled(suffix[i, j], 0.0)
                    value, scale = _scaled(value * suffix[i + 1, j], scale + power[i + 1, j])
                    suffix[i, j], power[i, j] = value, scale
    place[0], place[1] = slot, complete


@njit(cache=True, nogil=True, error_model="numpy")
def count_kernel(x, state, out):
    """How many of the last `window` rows have a value: not NaN. Before there are as many rows, of those there are."""
    recent, held, place = state.recent, state.held, state.place
    window, n_assets = recent.shape
    slot = place[0]
    for t in range(x.shape[0]):
        for j in range(n_assets):
            entering = x[t, j] == x[t, j]
            held[j] += (1.0 if entering else 0.0) - (1.0 if recent[slot, j] else 0.0)
            recent[slot, j] = entering
            out[t, j] = held[j]
        slot = slot + 1 if slot + 1 < window else 0
    place[0] = slot


@njit(cache=True, nogil=True, error_model="numpy")
def since_kernel(condition, state, out):
    """Rows since the condition held, 0 where it does; NaN before it first did. What is NaN does not hold."""
    age = state.age
    for t in range(condition.shape[0]):
        for j in range(condition.shape[1]):
            met = condition[t, j]
            age[j] = 0.0 if met != 0.0 and met == met else age[j] + 1.0
            out[t, j] = age[j]


@njit(cache=True, nogil=True, error_model="numpy")
def fill_kernel(x, limit, state, out):
    """The last value that is not NaN, if it is at most `limit` rows old; else NaN."""
    known, age = state.known, state.age
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            value = x[t, j]
            present = value == value
            known[j] = value if present else known[j]
            age[j] = 0 if present else age[j] + 1
            out[t, j] = known[j] if age[j] <= limit else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _plus(high, low, more_high, more_low):
    """The sum of two pairs of doubles."""
    grown = high + more_high
    part = grown - high
    return grown, low + (more_low + ((high - (grown - part)) + (more_high - part)))


@njit(cache=True, nogil=True, error_model="numpy")
def _times(high, low, weight):
    """A pair of doubles times a whole number below 2**26."""
    product, shifted = high * weight, high * _HALF
    top = shifted - (shifted - high)
    return product, ((top * weight - product) + (high - top) * weight) + low * weight


@njit(cache=True, nogil=True, error_model="numpy")
def _scaled(value, power):
    """The same number with `value` near 1, so that a product of two can neither overflow nor lose digits."""
    size = np.abs(value)
    if size >= 2.0**300:
        return value * _SMALL, power + 1.0
    if 0.0 < size < 2.0**-300:
        return value * _LARGE, power - 1.0
    return value, power
