"""Arithmetic without rounding, and what the slow oracles of windows share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

__all__ = ["Panel", "each_window", "root_of", "to_float", "total_of"]

Panel = npt.NDArray[np.float64]


def each_window(
    x: Panel,
    window: int,
    exact: Callable[[Sequence[float]], float],
    with_infinity: Callable[[Sequence[float]], float],
) -> Panel:
    """`exact` of each full window of finite values, `with_infinity` of those that hold one; NaN beside a NaN."""
    out = np.full(x.shape, np.nan)
    for t in range(window - 1, x.shape[0]):
        for j in range(x.shape[1]):
            values = x[t - window + 1 : t + 1, j].tolist()
            if not any(map(math.isnan, values)):
                out[t, j] = exact(values) if all(map(math.isfinite, values)) else with_infinity(values)
    return out


def total_of(values: Iterable[float | Fraction]) -> Fraction:
    """Sum without rounding."""
    return sum((Fraction(value) for value in values), Fraction(0))


def to_float(exact: Fraction | int) -> float:
    """The nearest double; an infinity beyond the largest."""
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def root_of(exact: Fraction) -> float:
    """Square root of a fraction that may be too large or small for a double."""
    if exact == 0:
        return 0.0
    shift = (exact.numerator.bit_length() - exact.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(exact / Fraction(4) ** shift), shift)
