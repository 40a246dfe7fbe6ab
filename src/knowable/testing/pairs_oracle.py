"""Moving windows over two inputs, straight from their definitions in exact fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from knowable.testing.exact import Panel, root_of, to_float, total_of

__all__ = ["moving_beta", "moving_corr", "moving_cov", "moving_r2", "moving_resid"]


class _Moments(NamedTuple):
    squares_x: Fraction
    squares_y: Fraction
    products: Fraction
    off_x: Fraction  # the last values less the means
    off_y: Fraction


def moving_cov(x: Panel, y: Panel, window: int) -> Panel:
    """Sample covariance of each window that is full of pairs of finite values."""
    return _windows(x, y, window, lambda m: to_float(m.products / (window - 1)) if window > 1 else math.nan)


def moving_corr(x: Panel, y: Panel, window: int) -> Panel:
    """Pearson correlation; NaN where either is constant."""

    def correlation(m: _Moments) -> float:
        spread = m.squares_x * m.squares_y
        return math.copysign(root_of(m.products**2 / spread), to_float(m.products)) if spread else math.nan

    return _windows(x, y, window, correlation)


def moving_beta(y: Panel, x: Panel, window: int) -> Panel:
    """Slope of the least-squares line of y on x."""
    return _windows(x, y, window, lambda m: to_float(m.products / m.squares_x) if m.squares_x else math.nan)


def moving_resid(y: Panel, x: Panel, window: int) -> Panel:
    """The last y less the line at the last x; 0 where that is only rounding, as documented."""

    def residual(m: _Moments) -> float:
        if not m.squares_x:
            return math.nan
        left = m.off_y - m.products / m.squares_x * m.off_x
        return to_float(left) if left**2 > m.squares_y / 10**28 else 0.0

    return _windows(x, y, window, residual)


def moving_r2(y: Panel, x: Panel, window: int) -> Panel:
    """One less the sum of squared residuals over y's sum of squares."""

    def explained(m: _Moments) -> float:
        if not m.squares_x or not m.squares_y:
            return math.nan
        left = m.squares_y - m.products**2 / m.squares_x
        return to_float(1 - left / m.squares_y)

    return _windows(x, y, window, explained)


def _windows(x: Panel, y: Panel, window: int, answer: Callable[[_Moments], float]) -> Panel:
    out = np.full(x.shape, np.nan)
    for t in range(window - 1, x.shape[0]):
        for j in range(x.shape[1]):
            first, second = x[t - window + 1 : t + 1, j].tolist(), y[t - window + 1 : t + 1, j].tolist()
            if all(map(math.isfinite, [*first, *second])):
                out[t, j] = answer(
                    _moments([Fraction(value) for value in first], [Fraction(value) for value in second])
                )
    return out


def _moments(x: list[Fraction], y: list[Fraction]) -> _Moments:
    mean_x, mean_y = total_of(x) / len(x), total_of(y) / len(y)
    u, v = [value - mean_x for value in x], [value - mean_y for value in y]
    return _Moments(
        total_of(a * a for a in u),
        total_of(b * b for b in v),
        total_of(a * b for a, b in zip(u, v, strict=True)),
        u[-1],
        v[-1],
    )
