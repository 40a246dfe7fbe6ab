"""Moving windows and cross-sections the slow way: each window by itself, in exact fractions where that is possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

__all__ = [
    "Panel",
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

Panel = npt.NDArray[np.float64]


def moving_sum(x: Panel, window: int) -> Panel:
    """Sum of each full window; NaN if any of it is NaN, IEEE if any is infinite."""
    return _moving(x, window, lambda values: _to_float(_total(values)), sum)


def moving_mean(x: Panel, window: int) -> Panel:
    """Mean of each full window."""
    return _moving(x, window, lambda values: _to_float(_total(values) / window), sum)


def moving_std(x: Panel, window: int) -> Panel:
    """Sample deviation of each full window; NaN for a window of 1 and beside an infinity."""

    def deviation(values: Sequence[float]) -> float:
        if window == 1:
            return math.nan
        exact = [Fraction(value) for value in values]
        mean = _total(exact) / window
        return _root(_total([(value - mean) ** 2 for value in exact]) / (window - 1))

    return _moving(x, window, deviation, lambda _: math.nan)


def moving_min(x: Panel, window: int) -> Panel:
    """Smallest of each full window."""
    return _moving(x, window, min, min)


def moving_max(x: Panel, window: int) -> Panel:
    """Largest of each full window."""
    return _moving(x, window, max, max)


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
        squares = _total([(each - mean) ** 2 for each in known])
        return float(value - mean) / _root(squares / (len(known) - 1)) if squares else math.nan

    return _by_row(x, score)


def cross_sum(x: Panel) -> Panel:
    """Sum of the row's values in each column; NaN where there is none."""
    out = np.full(x.shape, np.nan)
    for t, row in enumerate(x.tolist()):
        known = [Fraction(value) for value in row if value == value]
        if known:
            out[t] = _to_float(sum(known))
    return out


def _moving(
    x: Panel,
    window: int,
    exact: Callable[[Sequence[float]], float],
    with_infinity: Callable[[Sequence[float]], float],
) -> Panel:
    out = np.full(x.shape, np.nan)
    for t in range(window - 1, x.shape[0]):
        for j in range(x.shape[1]):
            values = x[t - window + 1 : t + 1, j].tolist()
            if not any(map(math.isnan, values)):
                out[t, j] = exact(values) if all(map(math.isfinite, values)) else with_infinity(values)
    return out


def _by_row(x: Panel, score: Callable[[Fraction, list[Fraction]], float]) -> Panel:
    out = np.full(x.shape, np.nan)
    for t, row in enumerate(x.tolist()):
        known = [Fraction(value) for value in row if value == value]
        for j, value in enumerate(row):
            if value == value:
                out[t, j] = score(Fraction(value), known)
    return out


def _total(values: Iterable[float | Fraction]) -> Fraction:
    return sum((Fraction(value) for value in values), Fraction(0))


def _to_float(exact: Fraction | int) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _root(exact: Fraction) -> float:
    """Square root of a fraction that may be too large or small for a double."""
    if exact == 0:
        return 0.0
    shift = (exact.numerator.bit_length() - exact.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(exact / Fraction(4) ** shift), shift)
