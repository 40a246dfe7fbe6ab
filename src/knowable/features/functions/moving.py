"""Functions of an asset's own past."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowable.errors import shown
from knowable.features.apply import apply, feature_of, named
from knowable.features.operators import SETTINGS
from knowable.features.symbols import Symbol

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["delta", "ewm", "lag", "max", "mean", "min", "std", "sum"]


def lag(x: Feature, n: int) -> Feature:
    """The value `n` bars before, n >= 0; NaN on the first n rows."""
    feature, open_ = feature_of("lag", x), issubclass(type(n), Symbol)
    if not open_ and SETTINGS["n"](n, lambda: f"lag({named(x)}, {shown(n)})") == 0:
        return feature
    return apply("lag", feature, n=n)


def delta(x: Feature, n: int) -> Feature:
    """The change over `n` bars: x - x.lag(n)."""
    return apply("-", x, lag(x, n))


def sum(x: Feature, window: int) -> Feature:
    """Sum of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("sum", x, window=window)


def mean(x: Feature, window: int) -> Feature:
    """Mean of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("mean", x, window=window)


def std(x: Feature, window: int) -> Feature:
    """Sample standard deviation (n - 1) of the last `window` bars; NaN unless all are valid, and for window 1."""
    return apply("std", x, window=window)


def min(x: Feature, window: int) -> Feature:
    """Smallest of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("min", x, window=window)


def max(x: Feature, window: int) -> Feature:
    """Largest of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("max", x, window=window)


def ewm(x: Feature, span: float) -> Feature:
    """Exponentially weighted mean, alpha = 2 / (span + 1), weights (1 - alpha)**age divided by their sum.

    As pandas' ``ewm(span=span).mean()`` (adjust=True, ignore_na=False): a missing value leaves the mean as it is
    and ages what came before; NaN before the first value. An infinity counts as missing.
    """
    return apply("ewm", x, span=span)
