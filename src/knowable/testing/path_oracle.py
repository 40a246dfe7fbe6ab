"""What an asset's path adds up to, the slow way: each row looks at its whole past, in exact fractions where it can."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from knowable.testing.exact import Panel, each_window, to_float, total_of

__all__ = ["bars_since", "decay_linear", "ffill", "moving_count", "moving_product"]


def decay_linear(x: Panel, window: int) -> Panel:
    """Sum of each full window with weights 1, 2, ... from its oldest value, over the sum of the weights."""

    def exact(values: Sequence[float]) -> float:
        weighted = total_of(weight * Fraction(value) for weight, value in enumerate(values, 1))
        return to_float(weighted / sum(range(1, window + 1)))

    return each_window(x, window, exact, sum)


def moving_product(x: Panel, window: int) -> Panel:
    """Product of each full window, rounded once."""

    def exact(values: Sequence[float]) -> float:
        return to_float(math.prod(map(Fraction, values), start=Fraction(1)))

    def with_infinity(values: Sequence[float]) -> float:
        return math.nan if 0.0 in values else math.prod(math.copysign(1.0, value) for value in values) * math.inf

    return each_window(x, window, exact, with_infinity)


def moving_count(x: Panel, window: int) -> Panel:
    """How many of the last rows, as far as there are any, have a value."""
    out = np.empty(x.shape)
    for t in range(x.shape[0]):
        out[t] = [sum(not math.isnan(value) for value in column) for column in x[max(t - window + 1, 0) : t + 1].T]
    return out


def bars_since(condition: Panel) -> Panel:
    """Rows back to the last one that is true."""
    out = np.full(condition.shape, np.nan)
    for t, j in np.ndindex(condition.shape):
        true = [u for u in range(t + 1) if condition[u, j] != 0 and not math.isnan(condition[u, j])]
        if true:
            out[t, j] = t - true[-1]
    return out


def ffill(x: Panel, limit: int | None = None) -> Panel:
    """The last value among this row and the `limit` rows before it, or all rows before it."""
    out = np.full(x.shape, np.nan)
    for t, j in np.ndindex(x.shape):
        seen = x[: t + 1, j] if limit is None else x[max(t - limit, 0) : t + 1, j]
        known = [value for value in seen.tolist() if not math.isnan(value)]
        if known:
            out[t, j] = known[-1]
    return out
