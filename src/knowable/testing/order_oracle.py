"""Order in moving windows the slow way: each window sorted or searched by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from knowable.testing.exact import Panel, each_window, to_float

__all__ = ["moving_argmax", "moving_argmin", "moving_median", "moving_quantile", "moving_rank"]


def moving_argmin(x: Panel, window: int) -> Panel:
    """Place of the first smallest value of each full window, the oldest at 0."""
    return each_window(x, window, _first_smallest, _first_smallest)


def moving_argmax(x: Panel, window: int) -> Panel:
    """Place of the first largest value of each full window."""
    return moving_argmin(-x, window)


def moving_rank(x: Panel, window: int) -> Panel:
    """1 + how many are less than the last value of the window, its equals sharing the average of their places."""

    def rank(values: Sequence[float]) -> float:
        last = values[-1]
        return 1 + sum(value < last for value in values) + (list(values).count(last) - 1) / 2

    return each_window(x, window, rank, rank)


def moving_quantile(x: Panel, window: int, q: float) -> Panel:
    """What stands at q * (window - 1) in the order of the window's values, between two of them by straight line."""
    at = q * (window - 1)
    part = at - math.floor(at)

    def neighbours(values: Sequence[float]) -> tuple[float, float]:
        ordered = sorted(values)
        return ordered[math.floor(at)], ordered[math.ceil(at)]

    def exact(values: Sequence[float]) -> float:
        low, high = map(Fraction, neighbours(values))
        return to_float(low + (high - low) * Fraction(part))

    def with_infinity(values: Sequence[float]) -> float:
        low, high = neighbours(values)
        return low if low == high else (1 - part) * low + part * high

    return each_window(x, window, exact, with_infinity)


def moving_median(x: Panel, window: int) -> Panel:
    """The middle value of each full window, or the mean of the two in the middle."""
    return moving_quantile(x, window, 0.5)


def _first_smallest(values: Sequence[float]) -> float:
    return float(list(values).index(min(values)))
