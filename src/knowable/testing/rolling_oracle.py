"""Moving windows and cross-sections the slow way: each window by itself, in exact fractions where that is possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from knowable.testing.exact import Panel, each_window, root_of, to_float, total_of

__all__ = [
    "cross_sum",
    "demean",
    "ewm",
    "lag",
    "moving_max",
    "moving_mean",
    "moving_min",
    "moving_std",
    "moving_sum",
    "rank",
    "zscore",
]


def moving_sum(x: Panel, window: int) -> Panel:
    """Sum of each full window; NaN if any of it is NaN, IEEE if any is infinite."""
    return each_window(x, window, lambda values: to_float(total_of(values)), sum)


def moving_mean(x: Panel, window: int) -> Panel:
    """Mean of each full window."""
    return each_window(x, window, lambda values: to_float(total_of(values) / window), sum)


def moving_std(x: Panel, window: int) -> Panel:
    """Sample deviation of each full window; NaN for a window of 1 and beside an infinity."""

    def deviation(values: Sequence[float]) -> float:
        if window == 1:
            return math.nan
        exact = [Fraction(value) for value in values]
        mean = total_of(exact) / window
        return root_of(total_of([(value - mean) ** 2 for value in exact]) / (window - 1))

    return each_window(x, window, deviation, lambda _: math.nan)


def moving_min(x: Panel, window: int) -> Panel:
    """Smallest of each full window."""
    return each_window(x, window, min, min)


def moving_max(x: Panel, window: int) -> Panel:
    """Largest of each full window."""
    return each_window(x, window, max, max)


def ewm(x: Panel, span: float) -> Panel:
    """Weighted mean by its definition: (1 - alpha)**age over all finite values so far."""
    keep = 1 - Fraction(2) / (Fraction(span) + 1)
    out = np.full(x.shape, np.nan)
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            known = [(keep ** (t - u), Fraction(x[u, j])) for u in range(t + 1) if math.isfinite(x[u, j])]
            total = sum(weight for weight, _ in known)
            if known:
                # with span 1 everything but the last value weighs nothing
                out[t, j] = float(sum(w * v for w, v in known) / total) if total else float(known[-1][1])
    return out


def lag(x: Panel, n: int) -> Panel:
    """The row n before."""
    out = np.full(x.shape, np.nan)
    for t in range(n, x.shape[0]):
        out[t] = x[t - n]
    return out


def rank(x: Panel, descending: bool = False) -> Panel:
    """1 + how many come before, ties sharing the average of their places."""
    out = np.full(x.shape, np.nan)
    for t, row in enumerate(x.tolist()):
        known = [value for value in row if value == value]
        for j, value in enumerate(row):
            if value == value:
                before = sum(other > value if descending else other < value for other in known)
                out[t, j] = 1 + before + (known.count(value) - 1) / 2
    return out


def demean(x: Panel) -> Panel:
    """Less the mean of the row's finite values."""
    return _by_row(x, lambda value, known: float(value - sum(known) / len(known)))


def zscore(x: Panel) -> Panel:
    """Less the mean, over the sample deviation."""

    def score(value: Fraction, known: list[Fraction]) -> float:
        mean = sum(known) / len(known)
        squares = total_of([(each - mean) ** 2 for each in known])
        return float(value - mean) / root_of(squares / (len(known) - 1)) if squares else math.nan

    return _by_row(x, score)


def cross_sum(x: Panel) -> Panel:
    """Sum of the row's values in each column; NaN where there is none."""
    out = np.full(x.shape, np.nan)
    for t, row in enumerate(x.tolist()):
        known = [Fraction(value) for value in row if value == value]
        if known:
            out[t] = to_float(sum(known))
    return out


def _by_row(x: Panel, score: Callable[[Fraction, list[Fraction]], float]) -> Panel:
    out = np.full(x.shape, np.nan)
    for t, row in enumerate(x.tolist()):
        known = [Fraction(value) for value in row if value == value]
        for j, value in enumerate(row):
            if value == value:
                out[t, j] = score(Fraction(value), known)
    return out
