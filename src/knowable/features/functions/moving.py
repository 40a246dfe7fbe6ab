"""Functions of an asset's own past.

Each takes `every`, a slower clock: ``close.mean(10, every="week_end")`` is the mean of the last ten week-end closes,
held from one week's end to the next. Windows, lags and spans then count periods; what an unfinished period holds is
never seen. See `resample` for what `every` may be, and docs/clocks.md for which bar ends a period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from knowable.errors import shown
from knowable.features.apply import apply, feature_of, named
from knowable.features.operators import SETTINGS
from knowable.features.symbols import Symbol

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["Every", "delta", "ewm", "lag", "max", "mean", "min", "std", "sum"]

Every: TypeAlias = "str | int | None"


def lag(x: Feature, n: int, *, every: Every = None) -> Feature:
    """The value `n` bars before, n >= 0; NaN on the first n rows. With `every`, at the end of the period n before."""
    feature, open_ = feature_of("lag", x), issubclass(type(n), Symbol)
    if not open_ and every is None and SETTINGS["n"](n, lambda: f"lag({named(x)}, {shown(n)})") == 0:
        return feature
    return apply("lag", feature, n=n, every=every)


def delta(x: Feature, n: int, *, every: Every = None) -> Feature:
    """The change over `n` bars: x - x.lag(n)."""
    return apply("-", lag(x, 0, every=every), lag(x, n, every=every))


def sum(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Sum of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("sum", x, window=window, every=every)


def mean(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Mean of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("mean", x, window=window, every=every)


def std(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Sample standard deviation (n - 1) of the last `window` bars; NaN unless all are valid, and for window 1."""
    return apply("std", x, window=window, every=every)


def min(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Smallest of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("min", x, window=window, every=every)


def max(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Largest of the last `window` bars, this one included; NaN unless all are valid."""
    return apply("max", x, window=window, every=every)


def ewm(x: Feature, span: float, *, every: Every = None) -> Feature:
    """Exponentially weighted mean, alpha = 2 / (span + 1), weights (1 - alpha)**age divided by their sum.

    As pandas' ``ewm(span=span).mean()`` (adjust=True, ignore_na=False): a missing value leaves the mean as it is
    and ages what came before; NaN before the first value. An infinity counts as missing.
    """
    return apply("ewm", x, span=span, every=every)
