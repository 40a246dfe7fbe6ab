"""Moments of windows, and of all rows so far, straight from their definitions in exact fractions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from knowable.testing.exact import Panel, each_window, root_of, to_float, total_of

__all__ = [
    "ewm_std",
    "expanding_count",
    "expanding_max",
    "expanding_mean",
    "expanding_min",
    "expanding_std",
    "expanding_sum",
    "moving_skew",
    "moving_var",
    "moving_zscore",
]


def moving_var(x: Panel, window: int) -> Panel:
    """Sample variance of each full window; NaN for a window of 1 and beside an infinity."""

    def variance(values: Sequence[float]) -> float:
        return to_float(_power_sum(values, 2) / (window - 1)) if window > 1 else math.nan

    return each_window(x, window, variance, lambda _: math.nan)


def moving_zscore(x: Panel, window: int) -> Panel:
    """The last value less the window's mean, over its sample deviation; NaN where there is no spread."""

    def score(values: Sequence[float]) -> float:
        squares = _power_sum(values, 2)
        if not squares:
            return math.nan
        off = Fraction(values[-1]) - total_of(values) / window
        return math.copysign(root_of(off**2 * (window - 1) / squares), to_float(off))

    return each_window(x, window, score, lambda _: math.nan)


def moving_skew(x: Panel, window: int) -> Panel:
    """Adjusted Fisher-Pearson coefficient of each full window; NaN below 3 values and where there is no spread."""

    def skewness(values: Sequence[float]) -> float:
        squares, cubes = _power_sum(values, 2), _power_sum(values, 3)
        if window < 3 or not squares:
            return math.nan
        square = cubes**2 / squares**3 * Fraction(window**2 * (window - 1), (window - 2) ** 2)
        return math.copysign(root_of(square), to_float(cubes))

    return each_window(x, window, skewness, lambda _: math.nan)


def ewm_std(x: Panel, span: float) -> Panel:
    """Weighted variance over all finite values so far, over what its expectation falls short by; its root."""
    keep = 1 - Fraction(2) / (Fraction(span) + 1)

    def deviation(values: Sequence[float], ages: Sequence[int]) -> float:
        weights = [keep**age for age in ages]
        total = total_of(weights)
        bias = total**2 - total_of(weight**2 for weight in weights)
        if not bias:
            return math.nan
        mean = total_of(w * Fraction(v) for w, v in zip(weights, values, strict=True)) / total
        squares = total_of(w * (Fraction(v) - mean) ** 2 for w, v in zip(weights, values, strict=True))
        return root_of(squares * total / bias)

    return _so_far(x, deviation)


def expanding_sum(x: Panel) -> Panel:
    """Sum of the finite values so far."""
    return _so_far(x, lambda values, _: to_float(total_of(values)) if values else math.nan)


def expanding_mean(x: Panel) -> Panel:
    """Mean of the finite values so far."""
    return _so_far(x, lambda values, _: to_float(total_of(values) / len(values)) if values else math.nan)


def expanding_std(x: Panel) -> Panel:
    """Sample deviation of the finite values so far."""
    return _so_far(
        x, lambda values, _: root_of(_power_sum(values, 2) / (len(values) - 1)) if len(values) > 1 else math.nan
    )


def expanding_min(x: Panel) -> Panel:
    """Smallest finite value so far."""
    return _so_far(x, lambda values, _: min(values, default=math.nan))


def expanding_max(x: Panel) -> Panel:
    """Largest finite value so far."""
    return _so_far(x, lambda values, _: max(values, default=math.nan))


def expanding_count(x: Panel) -> Panel:
    """How many finite values there were so far."""
    return _so_far(x, lambda values, _: float(len(values)))


def _power_sum(values: Sequence[float], power: int) -> Fraction:
    mean = total_of(values) / len(values)
    return total_of([(Fraction(value) - mean) ** power for value in values])


def _so_far(x: Panel, answer: Callable[[Sequence[float], Sequence[int]], float]) -> Panel:
    """`answer` of the finite values up to each row, and their ages in rows."""
    out = np.empty(x.shape)
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            known = [u for u in range(t + 1) if math.isfinite(x[u, j])]
            out[t, j] = answer([float(x[u, j]) for u in known], [t - u for u in known])
    return out
