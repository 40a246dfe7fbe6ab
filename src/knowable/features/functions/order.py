"""Functions of the order of an asset's last values.

Each takes `every`, a slower clock, as those of `moving` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowable.features.apply import apply
from knowable.features.functions.moving import Every

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["argmax", "argmin", "median", "ts_quantile", "ts_rank"]


def argmin(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Where the smallest of the last `window` bars stands: 0 the oldest, window - 1 this bar; the first of equals.

    Args:
        x: (n_bars, n_assets).
        window: bars, >= 1, this one included.

    Returns: (n_bars, n_assets) whole numbers, as numpy's argmin of each window; NaN unless all its values are valid.
        An infinity is a value like others.
    Known at: row t uses rows <= t.
    """
    return apply("argmin", x, window=window, every=every)


def argmax(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Where the largest of the last `window` bars stands: 0 the oldest, window - 1 this bar; the first of equals.

    How many bars ago that was is ``window - 1 - argmax(x, window)``. NaN unless all values of the window are valid.
    """
    return apply("argmax", x, window=window, every=every)


def ts_rank(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Rank of this bar's value among the last `window`, itself included: 1 the smallest; ties get their average.

    As pandas' ``rolling(window).rank()``; the rank among the assets of a bar is `rank`.

    Args:
        x: (n_bars, n_assets).
        window: bars, >= 1.

    Returns: (n_bars, n_assets) from 1 to window; NaN unless all values of the window are valid. An infinity ranks
        first or last.
    Known at: row t uses rows <= t.
    """
    return apply("ts_rank", x, window=window, every=every)


def ts_quantile(x: Feature, window: int, q: float, *, every: Every = None) -> Feature:
    """The value below which a share `q` of the last `window` bars lies: 0 the smallest, 0.5 the median, 1 the largest.

    Args:
        x: (n_bars, n_assets).
        window: bars, >= 1, this one included.
        q: from 0 to 1. Between two values it goes by straight line, at q * (window - 1) in their order.

    Returns: (n_bars, n_assets) in the unit of x; NaN unless all values of the window are valid. An infinity is a value
        like others; half-way between -inf and inf there is NaN.
    Known at: row t uses rows <= t.
    Raises: InputError if q is not from 0 to 1.
    Source: type 7 of Hyndman and Fan (1996), Am. Stat. 50: what pandas and numpy do by default.
    """
    return apply("ts_quantile", x, window=window, q=q, every=every)


def median(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Median of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("median", x, window=window, every=every)
