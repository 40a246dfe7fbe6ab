"""Functions of an asset's path: changes, weights that fade, products, counts, and how long ago something was.

Those with a memory take `every`, a slower clock, as those of `moving` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowable.features.apply import apply, feature_of
from knowable.features.functions.moving import Every, lag

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["bars_since", "count", "decay_linear", "ffill", "product", "returns"]


def returns(x: Feature, n: int = 1, *, every: Every = None) -> Feature:
    """The relative change over `n` bars, x / x.lag(n) - 1: 0.02 is two percent up; NaN on the first n rows."""
    return apply("-", apply("/", lag(x, 0, every=every), lag(x, n, every=every)), 1)


def decay_linear(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Mean of the last `window` bars, the weights falling by equal steps: window, window - 1, ... 1 from this bar back.

    Args:
        x: (n_bars, n_assets).
        window: bars, >= 1, this one included.

    Returns: (n_bars, n_assets) in the unit of x, the weights divided by their sum window * (window + 1) / 2; NaN
        unless all values of the window are valid; infinities follow IEEE.
    Known at: row t uses rows <= t.
    Source: the linearly weighted moving average of technical analysis; decay_linear of Kakushadze (2016), 101 Formulaic
        Alphas, Wilmott 84.
    """
    return apply("decay_linear", x, window=window, every=every)


def product(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Product of the last `window` bars, this one included; NaN unless all are valid; infinities follow IEEE.

    ``product(1 + returns(close), 20) - 1`` is the return over 20 bars. Part of a window may exceed a double's range.
    """
    return apply("product", x, window=window, every=every)


def count(x: Feature, window: int, *, every: Every = None) -> Feature:
    """How many of the last `window` bars, this one included, have a value; 0 where none has, never NaN.

    The first rows, which have fewer bars before them, count those. To count how often something was true, sum it:
    ``(close > open).sum(20)``; to count bars that hold it among missing ones, ``where(condition, 1, nan).count(20)``.
    """
    return apply("count", x, window=window, every=every)


def bars_since(condition: Feature, *, every: Every = None) -> Feature:
    """Bars since the condition was last true, 0 where it is: neither 0 nor NaN. NaN before it first was.

    A bar on which it is unknown (NaN) goes by like one on which it is false. By the calendar: `days_since`.

    Args:
        condition: (n_bars, n_assets), such as ``close >= close.max(250)``.

    Returns: (n_bars, n_assets) whole numbers of bars.
    Known at: row t uses rows <= t.
    """
    return apply("bars_since", feature_of("bars_since", condition), every=every)


def ffill(x: Feature, limit: int | None = None, *, every: Every = None) -> Feature:
    """The last known value, if it is at most `limit` bars old; None: of any age. NaN where there is none.

    Args:
        x: (n_bars, n_assets); an infinity is a value.
        limit: bars, >= 0; ``ffill(x, 1)`` fills gaps of one bar, and the first bar of longer ones.

    Returns: (n_bars, n_assets). As pandas' ``ffill(limit=limit)``. There is no fill backwards: it would look ahead.
    Known at: row t uses rows <= t.
    """
    return apply("ffill", feature_of("ffill", x), limit=limit, every=every)
